"""A trained detector as a function of images."""
