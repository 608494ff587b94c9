"""Judge: Rego policies in OPA."""
