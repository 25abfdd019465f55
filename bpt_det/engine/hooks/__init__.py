"""Hooks that Detectron2's engine lacks, or that forget their state on resume there."""

from ..ema import EmaUpdate
from .best import BestCheckpoint, BestMetric, EarlyStopping, build_early_stopping
from .checkpoints import SaveCheckpoints
from .final_test import FinalTest
from .metric_files import MetricsWriter
from .recorder import ResultRecorder
from .writers import DrawBatch, DrawCurves, Progress, RecordPromptRms

__all__ = [
    "BestCheckpoint",
    "BestMetric",
    "DrawBatch",
    "DrawCurves",
    "EarlyStopping",
    "EmaUpdate",
    "FinalTest",
    "MetricsWriter",
    "Progress",
    "RecordPromptRms",
    "ResultRecorder",
    "SaveCheckpoints",
    "build_early_stopping",
]
