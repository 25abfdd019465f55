"""Predictions as a COCO file, read and scored by pycocotools."""

import json

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bpt_det.detection import CocoEvaluator, load_dataset
from bpt_det.inference.predictions_file import CocoFile
from bpt_det.utils.errors import InputError

NAMES = ["disc", "ring", "star"]


def instances_of(masks, classes, scores):
    """What a model returns for objects with these masks (N, H, W)."""
    masks = torch.as_tensor(np.asarray(masks))
    boxes = [
        [xs.min().item(), ys.min().item(), xs.max().item() + 1, ys.max().item() + 1]
        for ys, xs in (mask.nonzero(as_tuple=True) for mask in masks)
    ]
    return Instances(
        tuple(masks.shape[1:]),
        pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        scores=torch.tensor(scores),
        pred_classes=torch.tensor(classes),
        pred_masks=masks,
    )


def rectangles(height, width, *corners):
    masks = np.zeros((len(corners), height, width), dtype=bool)
    for mask, (top, left, bottom, right) in zip(masks, corners, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def test_the_file_is_complete_in_itself(tmp_path):
    instances = instances_of(rectangles(20, 30, (1, 2, 5, 9), (4, 6, 20, 30)), [2, 0], [0.75, 0.5])
    with CocoFile(tmp_path / "a.json", NAMES) as file:
        file.add({"file_name": "x/a.jpg"}, instances[:0])
        file.add({"file_name": "clip.mp4", "frame_number": 8}, instances)
    assert (file.num_images, file.num_annotations) == (2, 2)
    coco = COCO(str(tmp_path / "a.json"))
    assert coco.imgs == {
        1: {"id": 1, "file_name": "x/a.jpg", "width": 30, "height": 20},
        2: {"id": 2, "file_name": "clip.mp4", "frame_number": 8, "width": 30, "height": 20},
    }
    assert [coco.cats[index]["name"] for index in (1, 2, 3)] == NAMES
    with CocoFile(tmp_path / "b.json", NAMES, [7, 3, 90]) as file:
        file.add({"file_name": "x/a.jpg"}, instances)
    other = COCO(str(tmp_path / "b.json"))
    assert [(a["category_id"], a["score"]) for a in other.anns.values()] == [(90, 0.75), (7, 0.5)]
    assert {key: category["name"] for key, category in other.cats.items()} == dict(
        zip([7, 3, 90], NAMES, strict=True)
    )
    first, second = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    assert (first["category_id"], first["bbox"], first["area"]) == (3, [2, 1, 7, 4], 28)
    assert (second["category_id"], second["score"], second["iscrowd"]) == (1, 0.5, 0)
    for annotation, mask in zip((first, second), instances.pred_masks, strict=True):
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)


def test_without_masks_the_area_is_that_of_the_box(tmp_path):
    instances = instances_of(rectangles(20, 30, (1, 2, 5, 9)), [1], [0.5])
    instances.remove("pred_masks")
    with CocoFile(tmp_path / "a.json", NAMES) as file:
        file.add({"file_name": "a.jpg"}, instances)
    (annotation,) = json.loads((tmp_path / "a.json").read_text())["annotations"]
    assert annotation["area"] == 28 and "segmentation" not in annotation


@pytest.fixture
def shapes(shapes_root):
    """The rendered validation images: name of the dataset, and pycocotools' view of it."""
    json_file, name = shapes_root / "annotations/instances_val.json", f"{shapes_root}_coco_file"
    load_dataset(name, json_file=str(json_file), image_root=str(shapes_root / "val"))
    return name, COCO(str(json_file))


def test_scores_as_the_evaluator_does(shapes, tmp_path):
    """Shifted, mislabeled and missed objects; file names and class names tie the two together."""
    name, truth = shapes
    class_names = [truth.cats[index]["name"] for index in sorted(truth.cats)]
    rng = np.random.default_rng(0)
    evaluator = CocoEvaluator(name)
    evaluator.reset()
    with CocoFile(tmp_path / "a.json", class_names) as file:
        for image_id in rng.permutation(sorted(truth.imgs)):
            image, classes = truth.imgs[image_id], []
            masks = np.zeros((0, image["height"], image["width"]), dtype=bool)
            for annotation in truth.imgToAnns[image_id]:
                moved = np.roll(truth.annToMask(annotation), rng.integers(0, 3), 1) > 0
                masks = np.concatenate([masks, moved[None]])
                label = sorted(truth.cats).index(annotation["category_id"])
                classes.append(label if rng.random() < 0.8 else int(rng.integers(10)))
            scores = (rng.permutation(len(masks)) + 1) / 64
            instances = instances_of(masks, classes, scores.astype(np.float32))[1:]
            file.add({"file_name": image["file_name"]}, instances)
            evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    expected = evaluator.evaluate()
    predictions = json.loads((tmp_path / "a.json").read_text())
    image_ids = {image["file_name"]: image["id"] for image in truth.dataset["images"]}
    image_ids = {i["id"]: image_ids[i["file_name"]] for i in predictions["images"]}
    category_ids = {category["name"]: category["id"] for category in truth.cats.values()}
    category_ids = {c["id"]: category_ids[c["name"]] for c in predictions["categories"]}
    for annotation in predictions["annotations"]:
        annotation["image_id"] = image_ids[annotation["image_id"]]
        annotation["category_id"] = category_ids[annotation["category_id"]]
    for task in ("bbox", "segm"):
        evaluation = COCOeval(truth, truth.loadRes(predictions["annotations"]), task)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        ours = [expected[task][metric] for metric in ("AP", "AP50", "AP75")]
        assert 10 < ours[0] < 90
        np.testing.assert_allclose(ours, 100 * evaluation.stats[:3], atol=1e-6)


def test_a_failure_leaves_no_file(tmp_path):
    with pytest.raises(KeyError), CocoFile(tmp_path / "a.json", NAMES):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot write '.*absent/a.json': No such file"):
        with CocoFile(tmp_path / "absent/a.json", NAMES):
            pass
