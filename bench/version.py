"""Which version of bench this is; apart, so that what records it imports nothing else."""

__version__ = "0.1.0"
