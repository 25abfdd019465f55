"""Hooks that Detectron2's engine lacks, or that forget their state on resume there.

`EmaUpdate` is in ``ema.py``, beside the averages that it updates.
"""

from .best import BestCheckpoint, BestMetric, EarlyStopping, build_early_stopping
from .final_test import FinalTest
from .recorder import ResultRecorder
from .writers import DrawCurves, MetricsWriter

__all__ = [
    "BestCheckpoint",
    "BestMetric",
    "DrawCurves",
    "EarlyStopping",
    "FinalTest",
    "MetricsWriter",
    "ResultRecorder",
    "build_early_stopping",
]
