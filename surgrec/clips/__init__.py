"""Bytes to tensors: frame times, decoding, augmentation, batches, and the loader that yields them."""
