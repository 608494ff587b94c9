"""Fakes that obey the contract suites of tests/contract."""
