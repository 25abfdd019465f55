"""Prompted ViTs in Detectron2: backbone, pyramid, datasets and evaluation."""

import bpt_det.utils.opencv  # noqa: F401  before detectron2 imports cv2: explains a missing libGL
from bpt_det.detection.evaluation.coco_evaluator import CocoEvaluator
from bpt_det.detection.evaluation.lvis_evaluator import LvisEvaluator
from bpt_det.utils.compat import LayerNorm2d

from .augmentations import ColorJitter, RandomBlur, RandomRotation, RandomVerticalFlip
from .backbone import PromptedViTBackbone
from .datasets import load_dataset
from .detection_data import use_detection_data
from .feature_pyramid import SimpleFeaturePyramid
from .federated_loss import FederatedOutputLayers, ImageCountWeights
from .large_scale_jitter import LargeScaleJitter
from .mapper import ImageNamingMapper
from .roi_pooler import EmbeddingBagROIPooler
from .split_files import WriteSplit
from .vitdet import ViTDetBackbone

__all__ = [
    "CocoEvaluator",
    "ColorJitter",
    "EmbeddingBagROIPooler",
    "FederatedOutputLayers",
    "ImageCountWeights",
    "ImageNamingMapper",
    "LargeScaleJitter",
    "LayerNorm2d",
    "LvisEvaluator",
    "PromptedViTBackbone",
    "RandomBlur",
    "RandomRotation",
    "RandomVerticalFlip",
    "SimpleFeaturePyramid",
    "ViTDetBackbone",
    "WriteSplit",
    "load_dataset",
    "use_detection_data",
]
