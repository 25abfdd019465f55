"""Hooks that Detectron2's engine lacks, or that forget their state on resume there."""

from ..ema import EmaUpdate
from .best import BestCheckpoint, BestMetric, EarlyStopping, build_early_stopping
from .final_test import FinalTest
from .recorder import ResultRecorder
from .writers import DrawCurves, MetricsWriter, Progress, RecordPromptRms, build_writers

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
    "build_writers",
]
