"""Detection datasets: registered by name or loaded from files, checked before a run starts.

Registers `shapes_train` and `shapes_val` under ``$DETECTRON2_DATASETS/shapes`` (default
``datasets/shapes``), beside Detectron2's own `coco_2017_train` and `coco_2017_val`.
"""

import difflib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts
from detectron2.data.datasets import register_coco_instances

from bpt_det.data.coco import explain_bad_annotations
from bpt_det.data.rle import RleError, decode_rle
from bpt_det.utils.errors import InputError, shorten


def load_dataset(
    names: str | None,
    *,
    num_classes: int | None = None,
    filter_empty: bool = True,
    image_ids: Sequence[int] | None = None,
    json_file: str | None = None,
    image_root: str | None = None,
) -> list[dict]:
    """Load a COCO-format dataset in Detectron2's standard form, after checking it.

    Args:
        names: registered name; with ``json_file``, the name to register it under. None is
            refused: a config has it for training where only data to evaluate on are given.
        num_classes: classes of the model; None skips the comparison.
        filter_empty: leave out images without an annotation that is not a crowd region.
        image_ids: only these images, in this order.
        json_file: COCO-format annotation file of a custom dataset.
        image_root: folder of its images.

    Raises:
        InputError: names what is missing or wrong, and what to do about it.
    """
    if names is None:
        raise InputError(
            "data to evaluate on are given but none to train on.", hint="training_data"
        )
    if json_file is not None:
        _register(names, json_file, image_root)
    if names not in DatasetCatalog.list():
        near = difflib.get_close_matches(names, DatasetCatalog.list(), n=3, cutoff=0.0)
        raise InputError(
            f"dataset '{names}' is not registered; the nearest names are {', '.join(near)}. "
            "Of a custom one, json_file and image_root are needed beside its name.",
            parameter="names",
        )
    metadata = MetadataCatalog.get(names)
    if metadata.get("json_file") is None:
        raise InputError(
            f"dataset '{names}' has no COCO-format annotation file; choose another.",
            parameter="names",
        )
    _check_files(names, Path(metadata.json_file), Path(metadata.image_root))
    try:
        records = get_detection_dataset_dicts(names, filter_empty=filter_empty)
    except (AssertionError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        explain_bad_annotations(
            metadata.json_file, metadata.get("thing_dataset_id_to_contiguous_id")
        )
        raise InputError(
            f"annotation file '{metadata.json_file}' cannot be used "
            f"({type(error).__name__}: {error}); correct it.",
            hint="check_dataset",
        ) from error
    count = len(metadata.thing_classes)
    if num_classes is not None and num_classes != count:
        raise InputError(
            f"dataset '{names}' has {count} classes but the model has num_classes={num_classes}; "
            f"set num_classes={count}.",
            parameter="num_classes",
        )
    if image_ids is not None:
        records = _select(records, image_ids, names)
    _check_images(records, names)
    _check_rle(records, metadata.json_file)
    return records


def _register(name: str, json_file: str, image_root: str | None) -> None:
    if image_root is None:
        raise InputError(f"dataset '{name}' has a json_file but no image_root; give both.")
    if name not in DatasetCatalog.list():
        register_coco_instances(name, {}, json_file, image_root)
        return
    metadata = MetadataCatalog.get(name)
    if (metadata.get("json_file"), metadata.get("image_root")) != (json_file, image_root):
        raise InputError(f"dataset name '{name}' is taken by another; choose a new one.")


def _check_files(name: str, json_file: Path, image_root: Path) -> None:
    for what, path in (("image folder", image_root), ("annotation file", json_file)):
        if not path.exists():
            raise InputError(f"dataset '{name}': {what} '{path}' does not exist.", hint="datasets")


def _check_images(records: list[dict], name: str) -> None:
    """Compare the listed files with what their folders hold, one listing per folder."""
    by_folder = defaultdict(list)
    for record in records:
        folder, file_name = os.path.split(record["file_name"])
        by_folder[folder].append(file_name)
    missing = []
    for folder, file_names in by_folder.items():
        present = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        missing += [os.path.join(folder, f) for f in file_names if f not in present]
    if missing:
        raise InputError(
            f"dataset '{name}': {len(missing)} of {len(records)} listed images do not exist "
            f"({shorten(missing)}). Restore them or remove them from the annotation file."
        )


def _check_rle(records: list[dict], json_file: str) -> None:
    """Check run lengths, as an evaluation would never end on those that do not add up."""
    for record in records:
        for annotation in record.get("annotations", ()):
            segmentation = annotation.get("segmentation")
            if not isinstance(segmentation, dict):
                continue
            try:
                decode_rle(segmentation, record["height"], record["width"])
            except RleError as error:
                raise InputError(
                    f"annotation file '{json_file}': a mask (RLE) of image "
                    f"'{record['file_name']}' cannot be used: {error}; correct or remove "
                    "it.",
                    hint="check_dataset",
                ) from error


def _select(records: list[dict], image_ids: Sequence[int], name: str) -> list[dict]:
    by_id = {record["image_id"]: record for record in records}
    absent = [image_id for image_id in image_ids if image_id not in by_id]
    if absent:
        raise InputError(f"dataset '{name}' has no usable image with id {absent[0]}.")
    return [by_id[image_id] for image_id in image_ids]


def _register_shapes() -> None:
    root = Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser() / "shapes"
    for split in ("train", "val"):
        annotations = root / "annotations" / f"instances_{split}.json"
        register_coco_instances(f"shapes_{split}", {}, str(annotations), str(root / split))


_register_shapes()
