"""Look inside: what the image really is."""
