"""A procedural corpus: surgical-like videos in four domains, labeled, seeded, and nobody's."""
