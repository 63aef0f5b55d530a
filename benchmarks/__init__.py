"""Benchmarks of the parts, each a command, such as `python -m benchmarks.simulator`."""
