"""What was signed about it: discovery, verification, reports."""
