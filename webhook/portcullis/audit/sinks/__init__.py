"""Where decisions go beside the store: to pipelines of logs, which may lose them where the store must not."""
