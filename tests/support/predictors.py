"""Files of a run for a `Predictor`: config and checkpoint of a tiny detector."""

from pathlib import Path

import torch
from detectron2.config import LazyConfig, instantiate
from omegaconf import DictConfig

from bpt_det.config import load_config
from bpt_det.engine import FrozenAwareCheckpointer
from tests.support.detectors import shrink, use_shapes
from tests.support.paths import ROOT


def write_run(
    folder: Path,
    shapes_root: Path,
    config: str = "shapes/cascade_bpt_s",
    vit_checkpoint: Path | None = None,
) -> DictConfig:
    """Write ``config.yaml`` and ``model_final.pth`` into a folder and return the config."""
    cfg = use_shapes(shrink(load_config(str(ROOT / f"configs/{config}.py"))), shapes_root)
    if vit_checkpoint is not None:
        cfg.model.backbone.net.vit.checkpoint = str(vit_checkpoint)
    heads = cfg.model.roi_heads
    is_cascade = "box_predictors" in heads
    for box_predictor in heads.box_predictors if is_cascade else [heads.box_predictor]:
        box_predictor.test_topk_per_image = 6  # masks are what takes time
    cfg.train.device = "cpu"
    LazyConfig.save(cfg, str(folder / "config.yaml"))
    torch.manual_seed(0)
    FrozenAwareCheckpointer(instantiate(cfg.model), str(folder)).save("model_final")
    return cfg


def set_class_names(checkpoint: Path, names: list[str] | None, to: Path) -> Path:
    """Write a checkpoint with other class names."""
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "class_names": names}, to)
    return to
