"""Benchmarks: time and memory of a config, compared with other ways to train the same ViT."""
