"""Configs: loading, composing, checking, and fitting them to data; no model and no training."""

import bpt_det.utils.opencv  # noqa: F401  detectron2 imports cv2 too, without explaining a missing libGL

from .loading import get_config, load_config
from .overrides import apply_overrides

__all__ = ["apply_overrides", "get_config", "load_config"]
