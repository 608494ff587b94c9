"""``portcullis explain``: why a policy refuses, or does not."""
