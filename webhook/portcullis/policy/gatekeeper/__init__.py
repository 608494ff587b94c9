"""Gatekeeper's ConstraintTemplates and constraints as policies, and gator's suites as tests of them."""
