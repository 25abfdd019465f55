"""Comparisons of methods: grid searches and repeated runs as subprocesses, and their report."""

from .experiment import Experiment, Method, Run
from .markdown_report import write_report
from .plan_file import load_experiment
from .results import Result
from .runner import run_experiment

__all__ = [
    "Experiment",
    "Method",
    "Result",
    "Run",
    "load_experiment",
    "run_experiment",
    "write_report",
]
