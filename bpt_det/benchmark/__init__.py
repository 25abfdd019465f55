"""What a config costs in time and memory, beside other ways to train the same ViT."""

from .measure import Measurement, Workload, measure_all
from .report import format_measurements, format_ratios
from .variants import VARIANTS
from .workloads import MEASURES, Models, build_data_loading, build_workloads

__all__ = [
    "MEASURES",
    "VARIANTS",
    "Measurement",
    "Models",
    "Workload",
    "build_data_loading",
    "build_workloads",
    "format_measurements",
    "format_ratios",
    "measure_all",
]
