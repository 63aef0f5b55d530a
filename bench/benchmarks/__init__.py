"""Benchmarks of the parts, each a command: `python -m bench.benchmarks.simulator`, `... .collection`."""
