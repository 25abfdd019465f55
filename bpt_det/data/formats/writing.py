"""Clean COCO annotation files: what the checks have left, in the form that every reader takes."""

from bpt_det.data.coco import is_area
from bpt_det.data.coco_dataset import CocoDataset, measure_area
from bpt_det.data.polygons import mask_to_polygons

_SINGLE_CLASS = {"id": 1, "name": "object"}


def clean_content(
    dataset: CocoDataset, *, as_polygons: bool = False, single_class: bool = False
) -> dict:
    """Return the content of an annotation file.

    Ids of images and categories stay, annotations are numbered anew, and every one has an area.

    Args:
        dataset: as `read_coco` returns it.
        as_polygons: write masks as polygons, where they have no hole.
        single_class: write all classes as one, ``object``.
    """
    categories = [{"id": key, "name": name} for key, name in dataset.class_names.items()]
    annotations: list[dict] = []
    for key, group in dataset.annotations.items():
        for annotation in group:
            entry = {**annotation, "id": len(annotations) + 1}
            mask = entry.get("segmentation")
            if isinstance(mask, dict):
                counts = mask["counts"]
                text = counts.decode("ascii") if isinstance(counts, bytes) else counts
                entry["segmentation"] = {"size": list(mask["size"]), "counts": text}
                if as_polygons and not entry["iscrowd"]:
                    entry["segmentation"] = mask_to_polygons(mask) or entry["segmentation"]
            if not is_area(entry.get("area")):
                entry["area"] = measure_area(annotation, dataset.images[key])
            if single_class:
                entry["category_id"] = _SINGLE_CLASS["id"]
            annotations.append(entry)
    return {
        "images": [dict(image) for image in dataset.images.values()],
        "annotations": annotations,
        "categories": [dict(_SINGLE_CLASS)] if single_class else categories,
    }
