"""A procedural corpus: surgical-like videos in four domains, labelled, seeded, and nobody's."""
