"""Inference: a trained detector as a function of images, and files of its predictions."""

from .predictor import Predictor

__all__ = ["Predictor"]
