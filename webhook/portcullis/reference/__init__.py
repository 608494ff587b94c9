"""Which image: the reference grammar."""
