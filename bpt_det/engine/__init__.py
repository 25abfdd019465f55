"""Training engine for every task: what Detectron2's engine lacks, and nothing else."""

import bpt_det.utils.opencv  # noqa: F401  detectron2 imports cv2 too, without explaining a missing libGL

from .checkpoint import FrozenAwareCheckpointer
from .evaluation import evaluate
from .loaders import TestLoader, TrainLoader
from .optim import build_cosine_schedule, build_multistep_schedule, build_param_groups
from .result import DivergenceError, RunResult, read_result
from .run import evaluate_checkpoint, load_trained_model, train
from .sharing import merge_tuning
from .trainer import Trainer

__all__ = [
    "DivergenceError",
    "FrozenAwareCheckpointer",
    "RunResult",
    "TestLoader",
    "TrainLoader",
    "Trainer",
    "build_cosine_schedule",
    "build_multistep_schedule",
    "build_param_groups",
    "evaluate",
    "evaluate_checkpoint",
    "load_trained_model",
    "merge_tuning",
    "read_result",
    "train",
]
