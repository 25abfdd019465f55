"""Inference: a trained model as a function of images, files of predictions, and exports."""

from typing import TYPE_CHECKING

from bpt_det.utils.lazy import import_on_demand

if TYPE_CHECKING:
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

# The help of the commands names defaults of inference without importing torch.
__getattr__ = import_on_demand(
    __name__,
    {
        "ClassScore": "image_classifier",
        "ImageClassifier": "image_classifier",
        "OnnxDetector": "onnx_detector",
        "Predictor": "predictor",
        "export_detector": "onnx_export",
        "export_program": "onnx_export",
        "export_pyramid": "onnx_export",
        "export_task": "task_export",
        "push_to_hub": "hub",
    },
)
