"""Inference: a trained model as a function of images, and files of predictions."""

from .image_classifier import ClassScore, ImageClassifier
from .predictor import Predictor

__all__ = ["ClassScore", "ImageClassifier", "Predictor"]
