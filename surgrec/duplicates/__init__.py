"""Perceptual hashes, runs of matching frames, and known overlaps between public sets. Not built yet."""
