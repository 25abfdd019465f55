"""Annotation files in LVIS's format, made of files in COCO's."""

import json
from pathlib import Path

import numpy as np


def as_lvis(content: dict, folder: str, seed: int = 0) -> dict:
    """Return a dataset in LVIS's format: no ``file_name``, no crowds, lists of each image.

    Of the categories that an image lacks some are known to be absent, and some of those that it has
    are not all annotated. Every third category is rare, common or frequent.

    Args:
        content: in COCO's format.
        folder: last folder of the images' addresses, such as ``val2017``.
        seed: of the choices.
    """
    rng = np.random.default_rng(seed)
    categories = sorted(content["categories"], key=lambda category: category["id"])
    annotations = [
        {k: v for k, v in a.items() if k != "iscrowd"}
        for a in content["annotations"]
        if not a.get("iscrowd") and isinstance(a["segmentation"], list)
    ]
    present = {
        image["id"]: {a["category_id"] for a in annotations if a["image_id"] == image["id"]}
        for image in content["images"]
    }
    images = []
    for image in content["images"]:
        others = [c["id"] for c in categories if c["id"] not in present[image["id"]]]
        own = sorted(present[image["id"]])
        images.append(
            {
                "id": image["id"],
                "height": image["height"],
                "width": image["width"],
                "coco_url": f"http://images.example.org/{folder}/{Path(image['file_name']).name}",
                "neg_category_ids": [c for c in others if rng.random() < 0.4],
                "not_exhaustive_category_ids": [c for c in own if rng.random() < 0.3],
            }
        )
    counts = {c["id"]: sum(c["id"] in ids for ids in present.values()) for c in categories}
    return {
        "images": images,
        "annotations": annotations,
        "categories": [
            {
                **category,
                "frequency": "rcf"[index % 3],
                "image_count": counts[category["id"]],
                "synset": "thing.n.01",
                "synonyms": [category["name"]],
                "def": "a thing",
                "instance_count": sum(a["category_id"] == category["id"] for a in annotations),
            }
            for index, category in enumerate(categories)
        ],
    }


def write_lvis(source: Path, target: Path, folder: str) -> dict:
    """Write a file in LVIS's format of one in COCO's, and return its content."""
    content = as_lvis(json.loads(source.read_text()), folder)
    target.write_text(json.dumps(content))
    return content
