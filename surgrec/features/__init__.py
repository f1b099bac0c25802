"""One small interface over every encoder, and features of whole corpora. Not built yet."""
