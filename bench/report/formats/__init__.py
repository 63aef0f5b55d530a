"""Ways to print the same tables and verdicts; each module is one format."""
