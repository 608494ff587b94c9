"""Kubernetes: certificates now, watching and secrets later."""
