"""The rim: the webhook server and the composition of all parts."""
