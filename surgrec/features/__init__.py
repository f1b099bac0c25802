"""One small interface over every encoder, features of whole corpora and of folders of videos, and kNN on them."""
