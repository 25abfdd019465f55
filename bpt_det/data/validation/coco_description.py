"""Description of a COCO-format dataset: objects by class, sizes, crowd regions, images."""

from collections import Counter
from collections.abc import Hashable
from typing import Any

import numpy as np
from tabulate import tabulate

from bpt_det.data.coco import is_area

from .coco_entries import Entries, is_size_valid

_SMALL, _LARGE = 32**2, 96**2  # square pixels; COCO's limits of small and large objects
_MOST_CLASSES = 40  # in the table of a text


def describe(entries: Entries) -> dict[str, Any]:
    """Return what a dataset holds, as JSON can hold it; areas are in square pixels.

    Args:
        entries: those that are sound, as the checks return them.
    """
    names = {c["id"]: str(c["name"]) for _, c in entries.categories}
    by_class: dict[Hashable, list[float]] = {key: [] for key in names}
    images: dict[Hashable, set] = {key: set() for key in names}
    per_image: Counter = Counter()
    num_crowds = 0
    for position, (index, annotation, image) in enumerate(entries.annotations):
        category = annotation["category_id"]
        if category not in by_class or index in entries.left_out:
            continue
        if annotation.get("iscrowd"):
            num_crowds += 1
            continue
        by_class[category].append(_area(annotation, entries.boxes[position]))
        images[category].add(image["id"])
        per_image[image["id"]] += 1
    areas = np.array([area for several in by_class.values() for area in several])
    return {
        "images": len(entries.images),
        "images_with_objects": len(per_image),
        "objects": len(areas),
        "crowd_regions": num_crowds,
        "most_objects_of_an_image": max(per_image.values(), default=0),
        "shares": _shares(areas),
        "image_sizes": _sizes([image for _, image in entries.images]),
        "classes": [
            {
                "name": names[key],
                "objects": len(several),
                "images": len(images[key]),
                "small": round(_shares(np.array(several))["small"], 3),
                "median_side": round(float(np.sqrt(np.median(several))), 1) if several else None,
            }
            for key, several in by_class.items()
        ],
    }


def _area(annotation: dict, box: np.ndarray) -> float:
    """Return the recorded area of an object, or else that of its box; 0 if that is malformed."""
    area = annotation.get("area")
    if is_area(area):
        return float(area)
    return float(np.nan_to_num(max(box[2], 0) * max(box[3], 0)))


def _shares(areas: np.ndarray) -> dict[str, float]:
    """Return the shares of small, medium and large objects."""
    count = max(1, len(areas))
    small, large = int((areas < _SMALL).sum()), int((areas > _LARGE).sum())
    shares = {"small": small, "medium": len(areas) - small - large, "large": large}
    return {name: number / count for name, number in shares.items()}


def _sizes(images: list[dict]) -> dict[str, Any]:
    """Return the smallest, the largest and the most frequent size, each (width, height)."""
    sizes = Counter(
        (int(image["width"]), int(image["height"])) for image in images if is_size_valid(image)
    )
    if not sizes:
        return {}
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    (common, count), *_ = sizes.most_common(1)
    share = count / sizes.total()
    return {"least": ordered[0], "most": ordered[-1], "common": common, "common_share": share}


def format_description(facts: dict[str, Any]) -> str:
    """Return a description in lines, with a table of the classes, the most frequent first."""
    shares = ", ".join(f"{share:.0%} {name}" for name, share in facts["shares"].items())
    mean = facts["objects"] / max(1, facts["images"])
    lines = [
        f"{facts['images_with_objects']:,} of {facts['images']:,} images have objects; "
        f"{mean:.1f} per image, {facts['most_objects_of_an_image']:,} at most; "
        f"{facts['crowd_regions']:,} crowd regions",
        f"{facts['objects']:,} objects: {shares} (below 32 x 32 and above 96 x 96 pixels)",
    ]
    if sizes := facts["image_sizes"]:
        least, most, common = (_by(sizes[key]) for key in ("least", "most", "common"))
        share = f"{common} most often ({sizes['common_share']:.0%})"
        lines.append(f"images of {least} to {most} pixels, {share}")
    classes = sorted(facts["classes"], key=lambda entry: -entry["objects"])
    rows = [
        [
            entry["name"],
            entry["objects"],
            entry["images"],
            f"{entry['small']:.0%}" if entry["objects"] else "-",
            entry["median_side"] if entry["objects"] else "-",
        ]
        for entry in classes[:_MOST_CLASSES]
    ]
    headers = ["class", "objects", "images", "small", "median side"]
    alignment = ("left", *["right"] * 4)
    table = tabulate(rows, headers, colalign=alignment, disable_numparse=True) if rows else ""
    more = len(classes) - len(rows)
    return "\n".join([*lines, "", table, *([f"and {more} more classes"] if more else [])])


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
