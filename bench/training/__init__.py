"""Drives a method through its phases: randomness, step runners, checkpoints."""
