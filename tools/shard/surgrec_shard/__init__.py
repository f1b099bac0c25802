"""The offline tool that turns videos into shards. It needs ffmpeg, and no torch."""
