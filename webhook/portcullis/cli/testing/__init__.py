"""``portcullis test``."""
