"""Small COCO-format datasets, and the part of a config that names its data."""

import json

from omegaconf import OmegaConf
from PIL import Image

POLYGON = [[2, 3, 6, 3, 6, 9, 2, 9]]
RLE = {"size": [12, 14], "counts": [15, 6, 147]}
CLASSES = {9: "hen", 2: "cat", 7: "dog"}  # in the order of their ids: cat, dog, hen


def new_config(**data):
    """What a detection config holds that has to do with its data."""
    heads = {"num_classes": 80, "mask_head": {"a": 1}, "mask_pooler": {"a": 1}}
    mapper = {"instance_mask_format": "polygon", "use_instance_mask": True, "recompute_boxes": True}
    train = {"dataset": {"names": "coco_2017_train", "image_ids": [5, 6]}, "mapper": mapper}
    return OmegaConf.create(
        {
            "data": {"train": None, "val": None, **data},
            "model": {"roi_heads": {**heads, "mask_in_features": ["p2"]}},
            "dataloader": {
                "train": train,
                "test": {"dataset": {"names": "coco_2017_val"}},
                "evaluator": {"dataset_name": "${..test.dataset.names}"},
            },
        }
    )


def entry(number, segmentation=POLYGON, **changes):
    where = {"id": number, "image_id": 3, "category_id": 7, "bbox": [2, 3, 4, 6]}
    return {**where, "segmentation": segmentation, **changes}


def write_data(folder, name="train", annotations=None, classes=CLASSES):
    """Write a dataset of one image, and return FILE:FOLDER."""
    images = folder / f"{name}_images"
    images.mkdir(parents=True)
    Image.new("RGB", (14, 12)).save(images / "a.jpg")
    content = {
        "images": [{"id": 3, "file_name": "a.jpg", "height": 12, "width": 14}],
        "annotations": [entry(1)] if annotations is None else annotations,
        "categories": [{"id": key, "name": value} for key, value in classes.items()],
    }
    (folder / f"{name}.json").write_text(json.dumps(content))
    return f"{folder}/{name}.json:{images}"
