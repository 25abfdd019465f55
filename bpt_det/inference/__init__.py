"""Inference: a trained model as a function of images, files of predictions, and exports."""

from .hub import push_to_hub
from .image_classifier import ClassScore, ImageClassifier
from .onnx_detector import OnnxDetector
from .onnx_export import export_detector, export_program, export_pyramid
from .predictor import Predictor
from .task_export import export_task

__all__ = [
    "ClassScore",
    "ImageClassifier",
    "OnnxDetector",
    "Predictor",
    "export_detector",
    "export_program",
    "export_pyramid",
    "export_task",
    "push_to_hub",
]
