"""The offline tool: videos to shards. Needs ffmpeg, and no torch."""
