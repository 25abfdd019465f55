"""Metrics of detection that comparisons report, by the heads of their columns."""

REPORT = {
    "box AP": "bbox/AP",
    "box AP50": "bbox/AP50",
    "mask AP": "segm/AP",
    "mask AP50": "segm/AP50",
}
