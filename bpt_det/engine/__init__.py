"""One training loop for every task: what Detectron2's engine lacks, and nothing else."""

import bpt_det.utils.opencv  # noqa: F401  detectron2 imports cv2 too, without explaining a missing libGL

from .checkpoint import FrozenAwareCheckpointer, read_class_names
from .config import apply_overrides, load_config
from .evaluation import evaluate
from .loaders import TrainLoader
from .param_groups import build_param_groups
from .run import evaluate_checkpoint, load_trained_model, train
from .schedule import build_cosine_schedule, build_multistep_schedule
from .test_loader import build_test_loader
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
    "build_test_loader",
    "evaluate",
    "evaluate_checkpoint",
    "load_config",
    "load_trained_model",
    "read_class_names",
    "train",
]
