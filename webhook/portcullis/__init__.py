"""Portcullis: a policy-as-code admission gate for Kubernetes."""

__version__ = "0.1.0"
