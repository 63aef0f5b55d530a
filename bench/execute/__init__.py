"""The grid, what is left of it, and the executors that work it off."""
