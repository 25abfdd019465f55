"""Benchmarks: time and memory of a config, compared with other ways to train the same ViT."""

from .evaluation_workloads import (
    EVALUATION,
    SCORING,
    Comparison,
    SimulatedResults,
    build_evaluation,
    build_scoring,
)
from .measure import Measurement, Workload, measure_all
from .tables import format_measurements, format_ratios
from .variants import VARIANTS
from .workloads import DATA, OF_VARIANTS, Models, build_data_loading, build_workloads

MEASURES = (*OF_VARIANTS, DATA, EVALUATION, SCORING)

__all__ = [
    "DATA",
    "EVALUATION",
    "MEASURES",
    "SCORING",
    "VARIANTS",
    "Comparison",
    "Measurement",
    "Models",
    "SimulatedResults",
    "Workload",
    "build_data_loading",
    "build_evaluation",
    "build_scoring",
    "build_workloads",
    "format_measurements",
    "format_ratios",
    "measure_all",
]
