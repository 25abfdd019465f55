"""Comparisons of methods: a plan of runs, their choice of settings, and a report of the results."""

from .experiment import Method, Plan, Run, load_plan
from .report import write_report
from .runs import Outcome, Result, perform

__all__ = ["Method", "Outcome", "Plan", "Result", "Run", "load_plan", "perform", "write_report"]
