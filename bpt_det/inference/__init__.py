"""Inference: a trained detector as a function of images, and files of its predictions."""
