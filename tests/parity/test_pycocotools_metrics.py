"""All 24 COCO metrics of random truths and predictions equal those of pycocotools."""

import itertools
from unittest import mock

import numpy as np
import pytest
from faster_coco_eval import COCO as FasterCOCO
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bpt_det.data.coco_dataset import CocoDataset
from bpt_det.detection.evaluation import scoring
from bpt_det.detection.evaluation.packed_results import PackedResults
from bpt_det.detection.evaluation.truth import prepare_truth

HEIGHT, WIDTH = 48, 64

cases = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32 - 1),
        "num_images": st.integers(1, 4),
        "num_categories": st.integers(1, 3),
        "num_objects": st.integers(0, 9),  # of an image, at most
        "num_guesses": st.sampled_from([0, 3, 12, 130]),  # as well
        "crowds": st.sampled_from([0.0, 0.3, 1.0]),
        "ignored": st.sampled_from([0.0, 0.3]),
        "num_scores": st.sampled_from([1, 3, 1000]),  # different ones: few of them are often equal
        "areas": st.sampled_from(["mask", "box", "any"]),
    }
)


def rectangle(rng):
    """Return a box XYWH within the image, of whole pixels."""
    x, y = int(rng.integers(WIDTH - 4)), int(rng.integers(HEIGHT - 4))
    width, height = int(rng.integers(2, WIDTH - x)), int(rng.integers(2, HEIGHT - y))
    return [x, y, width, height]


def mask_of(box):
    """Return the run lengths of a box with a line missing."""
    x, y, width, height = np.round(box).astype(int).clip(0)
    pixels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    pixels[y : y + height, x : x + width] = 1
    pixels[y + height // 2, x + width // 2 : x + width] = 0
    code = coco_mask.encode(pixels)
    return {**code, "counts": code["counts"].decode()}


def make(case):
    """Return the content of an annotation file, and results in COCO's form."""
    rng = np.random.default_rng(case["seed"])
    images = [
        {"id": i + 1, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH}
        for i in range(case["num_images"])
    ]
    categories = [{"id": 5 * i + 3, "name": str(i)} for i in range(case["num_categories"])]
    annotations, results = [], []
    for image in images:
        boxes = [rectangle(rng) for _ in range(rng.integers(case["num_objects"] + 1))]
        for box in boxes:
            mask = mask_of(box)
            area = {
                "mask": float(coco_mask.area(mask)),
                "box": box[2] * box[3],
                "any": float(rng.choice([0.5, 1023.9, 1024, 1024.1, 9216, 1e6])),
            }[case["areas"]]
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image["id"],
                "category_id": categories[rng.integers(len(categories))]["id"],
                "bbox": box,
                "segmentation": mask,
                "area": area,
                "iscrowd": int(rng.random() < case["crowds"]),
            }
            if case["ignored"]:
                annotation["ignore"] = int(rng.random() < case["ignored"])
            annotations.append(annotation)
        for _ in range(case["num_guesses"] and rng.integers(case["num_guesses"] + 1)):
            box = (
                boxes[rng.integers(len(boxes))] if boxes and rng.random() < 0.7 else rectangle(rng)
            )
            moved = (np.array(box) + rng.integers(-3, 4, size=4)).clip(0).astype(float)
            moved[2:] = moved[2:].clip(2)
            results.append(
                {
                    "image_id": image["id"],
                    "category_id": categories[rng.integers(len(categories))]["id"],
                    "bbox": moved.tolist(),
                    "segmentation": mask_of(box),
                    "score": float(rng.integers(1, case["num_scores"] + 1)) / 1024,
                }
            )
    return {"images": images, "annotations": annotations, "categories": categories}, results


def stats_of_pycocotools(content, results, task):
    truth = COCO()
    truth.dataset = content
    truth.createIndex()
    key = {"bbox": "bbox", "segm": "segmentation"}[task]
    fields = ("image_id", "category_id", "score", key)
    evaluation = COCOeval(truth, truth.loadRes([{f: r[f] for f in fields} for r in results]), task)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


def as_dataset(content):
    """Return what our reader would return of sound content."""
    annotations = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        annotations[annotation["image_id"]].append(annotation)
    images = {image["id"]: image for image in content["images"]}
    categories = {category["id"]: category for category in content["categories"]}
    return CocoDataset(images, annotations, categories, is_annotated=True)


@given(cases)
def test_the_24_metrics_equal_those_of_pycocotools(case):
    content, results = make(case)
    indexes = {category["id"]: i for i, category in enumerate(content["categories"])}
    truth, numbers = prepare_truth(as_dataset(content), indexes, len(indexes))
    of_ours = [{**r, "category_id": indexes[r["category_id"]] + 1} for r in results]
    of_ours = [{**r, "image_id": numbers[r["image_id"]]} for r in of_ours]
    packed = PackedResults.pack(of_ours, numbers.values())
    for task, most in itertools.product(("bbox", "segm"), (2, 50_000)):  # predictions at once
        with mock.patch.object(scoring, "_MOST_PREDICTIONS", most):
            scored = scoring.score_results(FasterCOCO(truth), packed, task, [*numbers.values()])
        ours = scored.stats[:12]
        if results:  # pycocotools cannot load none
            assert ours == pytest.approx(stats_of_pycocotools(content, results, task), abs=1e-12)
        else:
            assert set(np.asarray(ours).tolist()) <= {0.0, -1.0}
