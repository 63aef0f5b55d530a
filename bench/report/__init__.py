"""Tables as data, figures and renderers."""
