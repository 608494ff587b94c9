"""Fetch it: an OCI distribution client."""
