"""Ways to print the same tables; each module is one format."""
