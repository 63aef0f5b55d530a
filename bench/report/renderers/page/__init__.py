"""What the HTML page shows, as plain data for its templates."""
