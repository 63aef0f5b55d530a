"""The report's page, live from a store, for a browser on the same machine."""
