"""Task of a config: detection, classification or pre-training, each with data of its own."""

from collections.abc import Sequence

from omegaconf import DictConfig

from bpt_det.classification import use_classification_data
from bpt_det.config.loading import Datasets
from bpt_det.detection import use_detection_data
from bpt_det.pretraining import use_pretraining_data


def is_detector(cfg: DictConfig) -> bool:
    """Whether a config describes a detector."""
    return "roi_heads" in cfg.model


def use_data(cfg: DictConfig, overrides: Sequence[str]) -> Datasets | None:
    """Fit a config of any task to its data, in place; see `bpt_det.config.loading.Adapt`."""
    if is_detector(cfg):
        use_detection_data(cfg, overrides)
        return None
    if "encoder" in cfg.model:
        return use_pretraining_data(cfg, overrides)
    return use_classification_data(cfg, overrides)
