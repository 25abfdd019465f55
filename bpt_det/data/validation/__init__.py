"""Dataset checker: everything that is wrong with a dataset, at once; two sets of checks."""

from .coco_checks import COCO_KINDS, check_coco, check_content, check_images, check_leakage
from .coco_description import describe, format_description
from .coco_shapes import Limits
from .findings import ERROR, NOTE, SEVERITIES, WARNING, Findings, Kind
from .folder_checks import FOLDER_KINDS, check_labeled
from .report import format_report, report_as_dict

__all__ = [
    "COCO_KINDS",
    "ERROR",
    "FOLDER_KINDS",
    "Findings",
    "Kind",
    "Limits",
    "NOTE",
    "SEVERITIES",
    "WARNING",
    "check_coco",
    "check_content",
    "check_images",
    "check_labeled",
    "check_leakage",
    "describe",
    "format_description",
    "format_report",
    "report_as_dict",
]
