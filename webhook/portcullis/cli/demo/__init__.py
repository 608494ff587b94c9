"""``portcullis demo``: the whole gate on this machine, with images and attestations of its own."""
