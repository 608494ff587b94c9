"""VEX: what its makers say of vulnerabilities, read from three formats and applied to the findings of scanners."""
