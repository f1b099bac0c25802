"""The shard format, in both directions. README.md beside this file is its specification. No torch."""
