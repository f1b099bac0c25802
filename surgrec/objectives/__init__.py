"""What a model is trained for: model and batch in, losses out. One file per method."""
