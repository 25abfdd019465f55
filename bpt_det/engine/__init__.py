"""One training loop for every task: what Detectron2's engine lacks, and nothing else."""

import bpt_det.opencv  # noqa: F401  detectron2 imports cv2 too, without explaining a missing libGL

from .checkpointer import FrozenAwareCheckpointer, read_class_names
from .config import apply_overrides, load_config
from .data import TrainLoader
from .evaluation import evaluate
from .evaluation_data import build_test_loader
from .launch import build_parser, build_tool_parser, run_tool
from .loop import evaluate_checkpoint, load_trained_model, train
from .param_groups import build_param_groups
from .schedule import build_cosine_schedule, build_multistep_schedule
from .trainer import NonFiniteLossError, Trainer

__all__ = [
    "FrozenAwareCheckpointer",
    "NonFiniteLossError",
    "TrainLoader",
    "Trainer",
    "apply_overrides",
    "build_cosine_schedule",
    "build_multistep_schedule",
    "build_param_groups",
    "build_parser",
    "build_test_loader",
    "build_tool_parser",
    "evaluate",
    "evaluate_checkpoint",
    "load_config",
    "load_trained_model",
    "read_class_names",
    "run_tool",
    "train",
]
