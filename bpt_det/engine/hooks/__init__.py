"""Hooks that Detectron2's engine lacks, or that forget their state on resume there."""

from .best import BestCheckpoint, BestMetric, EarlyStopping, build_early_stopping
from .ema_update import EmaUpdate
from .final_test import FinalTest
from .prompt_rms import RecordPromptRms
from .recorder import ResultRecorder
from .writers import DrawCurves, MetricsWriter, Progress

__all__ = [
    "BestCheckpoint",
    "BestMetric",
    "DrawCurves",
    "EarlyStopping",
    "EmaUpdate",
    "FinalTest",
    "MetricsWriter",
    "Progress",
    "RecordPromptRms",
    "ResultRecorder",
    "build_early_stopping",
]
