"""Annotation formats: YOLO, Pascal VOC, labelme and COCO exports, each read as COCO's content."""

from .sources import (
    AnnotationSource,
    choose_parts,
    open_dataset,
    parse_source,
    read_annotations,
    source_exists,
    source_files,
)

__all__ = [
    "AnnotationSource",
    "choose_parts",
    "open_dataset",
    "parse_source",
    "read_annotations",
    "source_exists",
    "source_files",
]
