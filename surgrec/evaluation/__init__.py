"""From an encoder to scores on held-out cases, and from runs to a page."""
