"""The audit pages: what people read of the audit log, in a browser or as JSON, on a port of its own."""
