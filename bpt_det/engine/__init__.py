"""One training loop for every task: what Detectron2's engine lacks, and nothing else."""

import bpt_det.opencv  # noqa: F401  detectron2 imports cv2 too, without explaining a missing libGL

from .checkpointer import FrozenAwareCheckpointer
from .config import apply_overrides, load_config
from .data import TrainLoader
from .launch import build_parser, run_tool
from .loop import evaluate, load_trained_model, train
from .schedule import build_multistep_schedule
from .trainer import NonFiniteLossError, Trainer

__all__ = [
    "FrozenAwareCheckpointer",
    "NonFiniteLossError",
    "TrainLoader",
    "Trainer",
    "apply_overrides",
    "build_multistep_schedule",
    "build_parser",
    "evaluate",
    "load_config",
    "load_trained_model",
    "run_tool",
    "train",
]
