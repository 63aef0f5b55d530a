"""The methods: one module each, plus the parts they share. No files, no environments, no Ray."""
