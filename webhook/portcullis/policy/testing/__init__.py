"""Tests of policies: Rego tests run by OPA, why they fail, and what they cover."""
