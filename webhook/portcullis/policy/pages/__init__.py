"""A page for each policy, from what is compiled, its README and its source: model, Markdown and HTML."""
