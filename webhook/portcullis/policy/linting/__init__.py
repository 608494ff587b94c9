"""``portcullis lint``: what is wrong with policies, told before they are loaded."""
