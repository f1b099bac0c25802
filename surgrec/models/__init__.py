"""The networks: tubelet tokens, encoder, predictor, and their weights on disk. No run configuration."""
