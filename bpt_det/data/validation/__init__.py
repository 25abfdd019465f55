"""Finding everything that is wrong with a COCO-format dataset at once."""

from .coco_boxes import check_boxes
from .coco_entries import check_entries
from .coco_images import check_images
from .coco_masks import Limits, check_masks
from .findings import ERROR, KINDS, NOTE, SEVERITIES, WARNING, Findings
from .report import format_report, report_as_dict

__all__ = [
    "ERROR",
    "KINDS",
    "NOTE",
    "SEVERITIES",
    "WARNING",
    "Findings",
    "Limits",
    "check_dataset",
    "format_report",
    "report_as_dict",
]


def check_dataset(
    content: dict,
    image_root: str | None,
    limits: Limits | None = None,
    num_workers: int | None = None,
) -> Findings:
    """Check a dataset in COCO's format and return everything that was found.

    Args:
        content: of the annotation file, with its three lists.
        image_root: folder of the images; None leaves the image files out.
        limits: what counts as wrong; None takes the defaults.
        num_workers: threads that decode images; None takes one a core.
    """
    findings = Findings(
        {name: len(content[name]) for name in ("images", "annotations", "categories")}
    )
    entries = check_entries(content, findings)
    check_boxes(entries, findings)
    check_masks(entries, limits or Limits(), findings)
    if image_root is not None:
        check_images(entries, image_root, findings, num_workers)
    return findings
