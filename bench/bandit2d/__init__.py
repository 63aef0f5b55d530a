"""The papers' 2D problems."""
