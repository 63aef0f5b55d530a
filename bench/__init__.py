"""Reproduces the D4RL tables of four diffusion-policy papers, and says how far to believe each number."""

__version__ = "0.1.0"
