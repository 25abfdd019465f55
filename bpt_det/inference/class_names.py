"""Names and colors of the classes of a detector or a dataset, as far as they can be had."""

import logging
from collections.abc import Sequence

from detectron2.config import instantiate
from detectron2.data import Metadata, MetadataCatalog
from omegaconf import DictConfig

from bpt_det.utils.errors import InputError

logger = logging.getLogger(__name__)


def class_names(cfg: DictConfig, stored: Sequence[str] | None = None) -> list[str]:
    """Return the names of a detector's classes, one for each, by class index.

    Args:
        cfg: config of the detector.
        stored: names that its checkpoint holds. None, or another number of them than there are
            classes, takes those of ``dataloader.test.dataset``, else ``class 0``, ``class 1`` …
    """
    count = cfg.model.roi_heads.num_classes
    if stored is not None and len(stored) == count:
        return list(stored)
    names = class_metadata(cfg.dataloader.test.dataset).get("thing_classes")
    if names is not None and len(names) == count:
        return list(names)
    return [f"class {index}" for index in range(count)]


def class_metadata(dataset: DictConfig) -> Metadata:
    """Return the metadata of a dataset, read from its annotation file if need be.

    Without that file there are no ``thing_classes`` in it, and a warning says so.

    Args:
        dataset: config node of the dataset, such as ``dataloader.test.dataset``.
    """
    metadata = MetadataCatalog.get(dataset.names)
    if "thing_classes" not in metadata.as_dict():
        try:
            instantiate(dataset)  # reads the names
        except InputError as error:
            logger.warning("classes are shown by number, as their names are unknown: %s", error)
    return metadata
