"""Detection datasets: registered by name or loaded from files, checked before a run starts.

Registers `shapes_train` and `shapes_val` under ``$DETECTRON2_DATASETS/shapes`` (default
``datasets/shapes``), beside Detectron2's own `coco_2017_train` and `coco_2017_val`.
"""

import difflib
import logging
import os
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.build import print_instances_class_histogram
from detectron2.data.catalog import Metadata
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import BoxMode

from bpt_det.data.archives import find_tree
from bpt_det.data.coco_dataset import CocoDataset, read_coco, without_garbage_collection
from bpt_det.data.coco_files import check_image_sizes, explain_missing, find_image_files
from bpt_det.data.formats import source_exists
from bpt_det.data.validation.coco_shapes import are_finite
from bpt_det.utils.errors import InputError, shorten

_COPIED = ("iscrowd", "bbox", "keypoints", "segmentation")  # from annotations to records

logger = logging.getLogger(__name__)


def load_dataset(
    names: str | None,
    *,
    num_classes: int | None = None,
    filter_empty: bool = True,
    image_ids: Sequence[Hashable] | None = None,
    json_file: str | None = None,
    image_root: str | None = None,
    class_names: Sequence[str] | None = None,
) -> list[dict]:
    """Load a COCO-format dataset in Detectron2's standard form, after checking it.

    Args:
        names: registered name; with ``json_file``, the name to register it under. None is
            refused: a config has it for training where only data to evaluate on are given.
        num_classes: classes of the model; None skips the comparison.
        filter_empty: leave out images without an annotation that is not a crowd region.
        image_ids: only these images, in this order.
        json_file: COCO-format annotation file of a custom dataset, or a source in another format
            (`bpt_det.data.formats`).
        image_root: folder or archive of its images.
        class_names: of the model, in its order: the file's categories are matched by name. None
            takes those of the file, in the order of their ids.

    Raises:
        InputError: names what is missing or wrong, and what to do about it.
    """
    if names is None:
        raise InputError("no data are given, or none to train on.", hint="training_data")
    if json_file is not None:
        _register(names, json_file, image_root)
    metadata = find_metadata(names)
    _check_files(names, metadata.json_file, metadata.image_root)
    dataset = read_coco(metadata.json_file, keep=not filter_empty)
    set_classes(metadata, dataset, class_names)
    _set_image_counts(metadata, dataset)
    count = len(metadata.thing_classes)
    if num_classes is not None and num_classes != count:
        raise InputError(
            f"dataset '{names}' has {count} classes but the model has num_classes={num_classes}; "
            f"set num_classes={count}.",
            parameter="num_classes",
        )
    records = _records(dataset, metadata)
    if filter_empty:
        records = _with_objects(records, metadata.json_file)
    if image_ids is not None:
        records = _select(records, image_ids, names)
    _find_images(records, names, metadata.image_root)
    if dataset.is_annotated:
        print_instances_class_histogram(records, metadata.thing_classes)
    return records


def set_classes(
    metadata: Metadata, dataset: CocoDataset, class_names: Sequence[str] | None = None
) -> None:
    """Set the class names of a registered dataset, and the class index of its category ids.

    Args:
        metadata: of the dataset; its ``thing_classes``, ``thing_dataset_id_to_contiguous_id`` and
            ``category_ids``, those of the dataset, are set.
        dataset: what its annotation file holds.
        class_names: see `load_dataset`.

    Raises:
        InputError: the file has other categories than those the name stands for, or no class has a
            name of the model's.
    """
    file = metadata.json_file
    # Of the registered dataset, or of its file when it was first read: not those a model has.
    registered = metadata.get("category_ids")
    if registered is None:
        registered = set(metadata.get("thing_dataset_id_to_contiguous_id", dataset.class_names))
    if class_names is None or list(class_names) == list(dataset.class_names.values()):
        indexes = {key: index for index, key in enumerate(dataset.class_names)}
        names = list(dataset.class_names.values())
        if class_names is None and registered != indexes.keys():
            ids = sorted(map(str, registered ^ indexes.keys()))
            raise InputError(
                f"annotation file '{file}': category ids [{shorten(ids)}] are not among those of "
                "the registered dataset; correct the file, or load it under a name of its own "
                "with json_file and image_root.",
                hint="check_dataset",
            )
    else:
        names = list(class_names)
        indexes = match_classes(names, dataset.class_names, file)
    # Not by attribute, which refuses another value.
    metadata.__dict__.update(
        thing_classes=names, thing_dataset_id_to_contiguous_id=indexes, category_ids=registered
    )


def _set_image_counts(metadata: Metadata, dataset: CocoDataset) -> None:
    """Set ``class_image_count`` of a registered dataset, as Detectron2's main branch has of LVIS.

    The numbers of images are those of its categories, as LVIS has them, or else counted.
    """
    indexes = metadata.thing_dataset_id_to_contiguous_id
    counts = {k: category.get("image_count") for k, category in dataset.categories.items()}
    if not all(isinstance(count, int) for count in counts.values()):
        found = [{a["category_id"] for a in group} for group in dataset.annotations.values()]
        counts = Counter(chain.from_iterable(found))
    by_class = dict.fromkeys(range(len(metadata.thing_classes)), 0)
    by_class |= {index: counts[key] for key, index in indexes.items()}
    metadata.__dict__["class_image_count"] = [
        {"id": index + 1, "image_count": count} for index, count in by_class.items()
    ]


def match_classes(
    class_names: Sequence[str], categories: dict[Hashable, str], file: str
) -> dict[Hashable, int]:
    """Return the index of each category in a model's classes of the same name.

    Raises:
        InputError: no name is common to both, or one occurs twice.
    """
    for what, names in (("the model's classes", class_names), (f"'{file}'", categories.values())):
        repeated = sorted({name for name in names if list(names).count(name) > 1})
        if repeated:
            raise InputError(
                f"{what}: the class name '{repeated[0]}' occurs twice, so classes in another order "
                "cannot be matched by name; give each a name of its own."
            )
    indexes = {
        key: class_names.index(name) for key, name in categories.items() if name in class_names
    }
    if not indexes:
        raise InputError(
            f"annotation file '{file}' has none of the model's classes: it has "
            f"{shorten(list(categories.values()))}, the model {shorten(list(class_names))}."
        )
    return indexes


@without_garbage_collection()
def _records(dataset: CocoDataset, metadata: Metadata) -> list[dict]:
    """Return Detectron2's records, whose ``file_name`` is still that of the annotation file.

    Annotations of classes that the model lacks are left out.
    """
    indexes = metadata.thing_dataset_id_to_contiguous_id
    records = []
    num_other = 0
    for key, image in dataset.images.items():
        annotations = dataset.annotations[key]
        kept = [_record_of(a, indexes) for a in annotations if a["category_id"] in indexes]
        num_other += len(annotations) - len(kept)
        record = {name: image[name] for name in ("file_name", "height", "width")}
        record["image_id"] = key
        records.append({**record, "annotations": kept} if dataset.is_annotated else record)
    lacking = [name for name in metadata.thing_classes if name not in dataset.class_names.values()]
    if num_other or lacking:
        logger.warning(
            "'%s': classes are matched by name; %d annotations of classes that the model lacks are "
            "left out, and %d classes of the model are not in the file (%s)",
            metadata.json_file,
            num_other,
            len(lacking),
            shorten(lacking) or "none",
        )
    return records


def _record_of(annotation: dict, indexes: dict[Hashable, int]) -> dict:
    """Return Detectron2's form; a change of it leaves the dataset, which is kept, as it is."""
    record: dict[str, Any] = {key: annotation[key] for key in _COPIED if annotation.get(key)}
    record.setdefault("iscrowd", 0)
    points = record.pop("keypoints", None)
    if isinstance(points, list) and are_finite(points):  # pixel indexes there, coordinates here
        record["keypoints"] = [v if i % 3 == 2 else v + 0.5 for i, v in enumerate(points)]
    record["bbox"] = record["bbox"].copy()
    if "segmentation" in record:
        record["segmentation"] = _copy_mask(record["segmentation"])
    record["bbox_mode"] = BoxMode.XYWH_ABS
    record["category_id"] = indexes[annotation["category_id"]]
    return record


def _copy_mask(mask: list | dict) -> list | dict:
    if isinstance(mask, list):
        return [part.copy() for part in mask]
    return {**mask, "size": [*mask["size"]]}


def _with_objects(records: list[dict], json_file: str) -> list[dict]:
    kept = [r for r in records if any(not a["iscrowd"] for a in r.get("annotations", ()))]
    if kept:
        logger.info("%d images with objects, %d without", len(kept), len(records) - len(kept))
        return kept
    num_crowds = sum(len(record.get("annotations", ())) for record in records)
    crowds = (
        f"; all {num_crowds} annotations are crowd regions: set iscrowd to 0 where each is a "
        "single object, as exports of brush masks need it"
    )
    raise InputError(
        f"annotation file '{json_file}' is empty: no image in it has an annotation that is not a "
        f"crowd region{crowds if num_crowds else ''}."
    )


def _register(name: str, json_file: str, image_root: str | None) -> None:
    if image_root is None:
        raise InputError(f"dataset '{name}' has a json_file but no image_root; give both.")
    if name not in DatasetCatalog.list():
        register_coco_instances(name, {}, json_file, image_root)
        return
    metadata = MetadataCatalog.get(name)
    if (metadata.get("json_file"), metadata.get("image_root")) != (json_file, image_root):
        raise InputError(f"dataset name '{name}' is taken by another; choose a new one.")


def find_metadata(name: str) -> Metadata:
    """Return the metadata of a registered dataset in COCO's format."""
    if name not in DatasetCatalog.list():
        near = difflib.get_close_matches(name, DatasetCatalog.list(), n=3, cutoff=0.0)
        raise InputError(
            f"dataset '{name}' is not registered; the nearest names are {', '.join(near)}. "
            "Of a custom one, json_file and image_root are needed beside its name.",
            parameter="names",
        )
    metadata = MetadataCatalog.get(name)
    if metadata.get("json_file") is None:
        raise InputError(
            f"dataset '{name}' has no COCO-format annotation file; choose another.",
            parameter="names",
        )
    return metadata


def _check_files(name: str, json_file: str, image_root: str) -> None:
    for what, path, exists in (
        ("image folder", image_root, find_tree),
        ("annotation file", json_file, source_exists),
    ):
        if not exists(path):
            raise InputError(f"dataset '{name}': {what} '{path}' does not exist.", hint="datasets")


def _find_images(records: list[dict], name: str, image_root: str) -> None:
    """Turn listed names into paths of image files, in place, and compare their sizes."""
    names: dict[Hashable, str] = {i: record["file_name"] for i, record in enumerate(records)}
    paths, missing = find_image_files(names, image_root)
    if missing:
        text = explain_missing(missing, len(records), image_root)
        raise InputError(f"dataset '{name}': {text}")
    for index, record in enumerate(records):
        record["file_name"] = paths[index]
    check_image_sizes(records)


def _select(records: list[dict], image_ids: Sequence[Hashable], name: str) -> list[dict]:
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
