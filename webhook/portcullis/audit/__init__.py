"""Remember: the audit log."""
