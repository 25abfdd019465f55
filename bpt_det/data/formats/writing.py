"""Clean COCO annotation files: what the checks have left, in the form that every reader takes."""

from bpt_det.data.coco_dataset import CocoDataset
from bpt_det.data.polygons import mask_to_polygons

from .base import polygon_area


def clean_content(dataset: CocoDataset, *, as_polygons: bool = False) -> dict:
    """Return the content of an annotation file.

    Ids of images and categories stay, annotations are numbered anew, and every one has an area.

    Args:
        dataset: as `read_coco` returns it.
        as_polygons: write masks as polygons, where they have no hole.
    """
    annotations: list[dict] = []
    for group in dataset.annotations.values():
        for annotation in group:
            entry = {**annotation, "id": len(annotations) + 1}
            mask = entry.get("segmentation")
            if isinstance(mask, dict):
                counts = mask["counts"]
                text = counts.decode("ascii") if isinstance(counts, bytes) else counts
                entry["segmentation"] = {"size": list(mask["size"]), "counts": text}
                if as_polygons and not entry["iscrowd"]:
                    entry["segmentation"] = mask_to_polygons(mask) or entry["segmentation"]
            if not entry.get("area"):
                _, _, width, height = entry["bbox"]
                polygons = mask if isinstance(mask, list) else []
                entry["area"] = sum(map(polygon_area, polygons)) or width * height
            annotations.append(entry)
    return {
        "images": [dict(image) for image in dataset.images.values()],
        "annotations": annotations,
        "categories": [{"id": key, "name": name} for key, name in dataset.class_names.items()],
    }
