"""The pages of docs/methods, one for each method of this package; `make methods` writes them."""
