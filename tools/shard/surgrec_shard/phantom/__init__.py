"""A procedural corpus: labeled videos that resemble surgery in four domains, without patients."""
