"""Continuous batching for T5-family encoder-decoders. Knows token ids only: no text, no HTTP, no Ray."""
