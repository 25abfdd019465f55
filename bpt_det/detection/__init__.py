"""Prompted ViTs in Detectron2: backbone, pyramid, datasets, evaluation, pictures."""

import bpt_det.opencv  # noqa: F401  detectron2 imports cv2 too, without explaining a missing libGL

from .backbone import PromptedViTBackbone, build_prompted_vit_pyramid
from .coco_evaluation import CocoEvaluator
from .dataset_mapper import ImageNamingMapper
from .datasets import load_dataset
from .feature_pyramid import SimpleFeaturePyramid
from .large_scale_jitter import LargeScaleJitter
from .layers import LayerNorm2d
from .own_data import use_own_data
from .vitdet import ViTDetBackbone
from .yacs import add_bpt_config

__all__ = [
    "CocoEvaluator",
    "ImageNamingMapper",
    "LargeScaleJitter",
    "LayerNorm2d",
    "PromptedViTBackbone",
    "SimpleFeaturePyramid",
    "ViTDetBackbone",
    "add_bpt_config",
    "build_prompted_vit_pyramid",
    "load_dataset",
    "use_own_data",
]
