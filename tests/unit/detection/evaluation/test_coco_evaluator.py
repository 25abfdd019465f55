"""Our evaluator against pycocotools, and against the ground truth itself."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bpt_det.detection import CocoEvaluator, load_dataset
from bpt_det.shapes import write_shapes
from bpt_det.utils.errors import InputError
from bpt_det.visualization.sheet import SHEET_WIDTH

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
EMPTY_IMAGE = 900
OVERLAP = 0.1


class Dataset:
    """A registered dataset beside pycocotools' view of it."""

    def __init__(self, name, json_file, image_root):
        load_dataset(name, filter_empty=False, json_file=str(json_file), image_root=str(image_root))
        self.name = name
        self.truth = COCO(str(json_file))
        self.image_ids = sorted(self.truth.imgs)
        images = self.truth.imgs.items()
        self.files = {i: str(Path(image_root) / image["file_name"]) for i, image in images}
        self.category_ids = sorted(self.truth.cats)  # of a class, its place here


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Rendered images with crowds and an empty one; category ids with gaps, as COCO's."""
    root = tmp_path_factory.mktemp("evaluation") / "shapes"
    write_shapes(root, num_train=1, num_val=14, image_size=224, seed=1)
    path = root / "annotations/instances_val.json"
    content = json.loads(path.read_text())
    content["images"].append({**content["images"][0], "id": EMPTY_IMAGE})
    for entry in content["categories"]:
        entry["id"] = 3 * entry["id"] + 2
    for entry in content["annotations"]:
        entry["category_id"] = 3 * entry["category_id"] + 2
    path.write_text(json.dumps(content))
    yield Dataset("evaluated_shapes", path, root / "val")
    DatasetCatalog.remove("evaluated_shapes")
    MetadataCatalog.remove("evaluated_shapes")


@pytest.fixture(scope="module")
def photographs(coco_root):
    name, path = "evaluated_photographs", coco_root / "annotations/instances_val2017.json"
    yield Dataset(name, path, coco_root / "val2017")
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def true_instances(data, image_id):
    """Yield (category id, box XYXY, mask) of the objects of an image, crowds left out."""
    for annotation in data.truth.imgToAnns[image_id]:
        if not annotation["iscrowd"]:
            left, top, width, height = annotation["bbox"]
            box = [left, top, left + width, top + height]
            yield annotation["category_id"], box, data.truth.annToMask(annotation).astype(bool)


def perfect_predictions(data):
    return {
        image_id: [(1.0, *instance) for instance in true_instances(data, image_id)]
        for image_id in data.image_ids
    }


def jittered_predictions(data, seed=0):
    """Shifted, mislabeled, doubled, missed and invented objects, with equal scores among them."""
    rng = np.random.default_rng(seed)
    predictions = {}
    for image_id in data.image_ids:
        objects = []
        for category_id, box, mask in true_instances(data, image_id):
            for _ in range(rng.integers(0, 4)):
                shift_x, shift_y = (int(n) for n in rng.integers(-4, 5, size=2))
                # Quarters of a pixel are exact in float32, in which a model predicts.
                moved = np.round(4 * np.add(box, [shift_x, shift_y, 0, shift_y])) / 4
                if rng.random() < 0.15:
                    category_id = data.category_ids[rng.integers(len(data.category_ids))]
                score = float(rng.integers(1, 33)) / 32
                objects.append(
                    (score, category_id, moved, np.roll(mask, (shift_y, shift_x), (0, 1)))
                )
        if image_id == EMPTY_IMAGE:
            image = data.truth.imgs[image_id]
            mask = np.zeros((image["height"], image["width"]), dtype=bool)
            mask[:9, :7] = True
            objects.append((0.75, data.category_ids[0], [0, 0, 7, 9], mask))
        predictions[image_id] = objects
    return predictions


def evaluate(data, predictions, times=1, files=None, img_ids=None, **kwargs):
    """Run our evaluator on what a model would return, for each image so many times."""
    files = data.files if files is None else files
    evaluator = CocoEvaluator(data.name, **kwargs)
    evaluator.reset()
    for image_id, objects in list(predictions.items()) * times:
        image = data.truth.imgs[image_id]
        size = (image["height"], image["width"])
        scores, categories, boxes, masks = (
            zip(*objects, strict=True) if objects else ([], [], [], [])
        )
        instances = Instances(
            size,
            scores=torch.tensor(scores),
            pred_classes=torch.tensor([data.category_ids.index(c) for c in categories]).long(),
            pred_boxes=Boxes(torch.tensor(np.array(boxes, dtype=np.float32).reshape(-1, 4))),
            pred_masks=torch.tensor(np.array(masks, dtype=bool).reshape(-1, *size)),
        )
        sample = {"image_id": image_id, "file_name": files[image_id]}
        evaluator.process([sample], [{"instances": instances}])
    return evaluator.evaluate(img_ids)


def score_with_pycocotools(data, predictions, task):
    """Return the same metrics, in percent, from pycocotools."""
    results = []
    for image_id, objects in predictions.items():
        for score, category_id, box, mask in objects:
            result = {"image_id": image_id, "category_id": category_id, "score": score}
            if task == "bbox":
                left, top, right, bottom = (float(x) for x in box)
                result["bbox"] = [left, top, right - left, bottom - top]
            else:
                result["segmentation"] = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
            results.append(result)
    evaluation = COCOeval(data.truth, data.truth.loadRes(results), task)
    evaluation.params.imgIds = list(predictions)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    expected = dict(zip(METRICS, evaluation.stats, strict=False))
    for index, category_id in enumerate(data.category_ids):
        precision = evaluation.eval["precision"][:, :, index, 0, -1]
        precision = precision[precision > -1]
        name = data.truth.cats[category_id]["name"]
        expected[f"AP-{name}"] = precision.mean() if precision.size else -1
    return {name: 100 * value if value >= 0 else np.nan for name, value in expected.items()}


def assert_equals_pycocotools(data, predictions):
    results = evaluate(data, predictions)
    assert set(results) == {"bbox", "segm"}
    for metrics in results.values():
        del metrics["F1"], metrics["F1_threshold"]  # see test_analysis.py
    for task, metrics in results.items():
        expected = score_with_pycocotools(data, predictions, task)
        assert metrics == pytest.approx(expected, abs=1e-9, nan_ok=True), task
        assert 5 < metrics["AP"] < 95  # the predictions are neither perfect nor useless
    return results


def assert_perfect(results):
    for task in ("bbox", "segm"):
        assert 0 < results[task].pop("F1_threshold") < 1
        metrics = [value for value in results[task].values() if np.isfinite(value)]
        assert metrics == pytest.approx([100] * len(metrics), abs=1e-9), task
        assert results[task]["AP"] == pytest.approx(100, abs=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_pycocotools_on_jittered_predictions(shapes, seed):
    crowds = [a for a in shapes.truth.dataset["annotations"] if a["iscrowd"]]
    assert crowds and not shapes.truth.imgToAnns[EMPTY_IMAGE]
    results = assert_equals_pycocotools(shapes, jittered_predictions(shapes, seed))
    assert all(np.isfinite(results["segm"][metric]) for metric in METRICS)


def test_equals_pycocotools_on_real_photographs(photographs):
    assert_equals_pycocotools(photographs, jittered_predictions(photographs))


def test_the_ground_truth_scored_against_itself_is_perfect(shapes):
    assert_perfect(evaluate(shapes, perfect_predictions(shapes)))


def test_the_ground_truth_of_real_photographs_scored_against_itself_is_perfect(photographs):
    assert len(photographs.image_ids) == 40
    assert_perfect(evaluate(photographs, perfect_predictions(photographs)))


def test_only_images_that_were_run_are_scored(shapes):
    perfect = perfect_predictions(shapes)
    chosen = shapes.image_ids[3:6]
    assert_perfect(evaluate(shapes, {image_id: perfect[image_id] for image_id in chosen}))
    jittered = jittered_predictions(shapes)
    jittered_chosen = {image_id: jittered[image_id] for image_id in chosen}
    assert_equals_pycocotools(shapes, jittered_chosen)
    named = evaluate(shapes, jittered, img_ids=chosen)
    expected = evaluate(shapes, jittered_chosen)
    for task in ("bbox", "segm"):
        assert named[task] == pytest.approx(expected[task], nan_ok=True)


def test_an_evaluation_leaves_its_tables_and_pictures(shapes, tmp_path):
    results = evaluate(shapes, jittered_predictions(shapes), output_dir=str(tmp_path))
    assert_analyzed(shapes, "bbox", results["bbox"], tmp_path)
    assert_analyzed(shapes, "segm", results["segm"], tmp_path / "masks")


def assert_analyzed(shapes, task, results, folder):
    content = json.loads((folder / "analysis.json").read_text())
    assert content["task"] == task and content["F1"] == pytest.approx(results["F1"])
    classes = content["classes"]
    assert np.mean([c["AP50"] for c in classes if c["objects"]]) == pytest.approx(results["AP50"])
    assert {f"AP-{c['class']}": c["AP"] for c in classes if c["objects"]} == pytest.approx(
        {k: v for k, v in results.items() if k.startswith("AP-") and np.isfinite(v)}
    )
    crowds = sum(a["iscrowd"] for a in shapes.truth.dataset["annotations"])
    num_objects = sum(c["objects"] for c in classes)
    assert num_objects == len(shapes.truth.anns) - crowds == content["num_objects"]
    assert (
        content["num_predictions"]
        == num_objects - content["false_negatives"] + (content["false_positives"])
    )
    rows = list(csv.reader((folder / "confusion.csv").open()))
    assert len(rows) == len(rows[0]) == 12  # ten classes, the background, the names
    assert len(list(csv.reader((folder / "errors.csv").open()))) == 7
    pictures = {"precision_recall.png", "confusion.png", "errors.png", "predictions.png"}
    assert pictures == {path.name for path in folder.glob("*.png")}
    with Image.open(folder / "predictions.png") as picture:
        assert picture.width == SHEET_WIDTH
        is_blank = (np.asarray(picture) == 255).all(axis=(1, 2))
        # Panels keep the size that they were drawn in, so labels keep their 12 pixels.
        assert 563 in np.diff(np.flatnonzero(np.diff(is_blank)))


def test_where_no_object_is_found_there_is_no_threshold_to_tell(shapes, caplog):
    category, sizes = shapes.category_ids[0], shapes.truth.imgs
    predictions = {
        i: [(0.9, category, [0, 0, 1, 1], np.eye(sizes[i]["height"], sizes[i]["width"]))]
        for i in shapes.image_ids
    }
    with caplog.at_level("INFO"):
        evaluate(shapes, predictions)
    assert "bbox: no prediction is matched with an object" in caplog.text
    assert "nan" not in caplog.text.split("largest F1")[-1]


def test_pictures_can_be_left_out(shapes, tmp_path):
    evaluate(shapes, jittered_predictions(shapes), output_dir=str(tmp_path), num_pictures=0)
    assert (tmp_path / "masks/per_class.csv").is_file() and not list(tmp_path.rglob("*.png"))


def test_an_image_that_cannot_be_read_is_left_out_of_the_pictures(shapes, tmp_path, caplog):
    predictions = jittered_predictions(shapes)
    files = {image_id: str(tmp_path / "missing.jpg") for image_id in predictions}
    evaluate(shapes, predictions, files=files, output_dir=str(tmp_path))
    assert not (tmp_path / "predictions.png").exists()
    assert "missing.jpg" in caplog.text and (tmp_path / "errors.png").is_file()


def test_the_sheet_of_predictions_goes_to_the_trackers_of_a_training(shapes, tmp_path):
    with EventStorage() as storage:
        folder = tmp_path / "inference"
        evaluate(shapes, jittered_predictions(shapes), output_dir=str(folder), num_pictures=1)
    names, pictures, _ = zip(*storage._vis_data, strict=True)
    assert names == ("inference/predictions", "inference/masks/predictions")
    assert [picture.shape[0] for picture in pictures] == [3, 3]


def test_an_image_that_was_run_and_missed_counts(shapes):
    predictions = perfect_predictions(shapes)
    predictions[shapes.image_ids[0]] = []
    assert evaluate(shapes, predictions)["bbox"]["AP"] < 100


def test_an_image_that_is_run_twice_counts_once(shapes):
    predictions = jittered_predictions(shapes)
    assert evaluate(shapes, predictions, times=2) == evaluate(shapes, predictions)


def test_results_that_cannot_be_written_are_left_out_and_scored(shapes, tmp_path, caplog):
    (tmp_path / "coco_instances_results.json").mkdir()
    assert_perfect(evaluate(shapes, perfect_predictions(shapes), output_dir=str(tmp_path)))
    assert "coco_instances_results.json' ([Errno 21] Is a directory" in caplog.text
    assert caplog.text.count("It is left out.") == 1


def test_tasks_can_be_chosen(shapes):
    assert set(evaluate(shapes, perfect_predictions(shapes), tasks=["segm"])) == {"segm"}


def test_no_prediction_at_all_scores_0(shapes, tmp_path):
    predictions = dict.fromkeys(shapes.image_ids, ())
    results = evaluate(shapes, predictions, overlap_iou=OVERLAP, output_dir=str(tmp_path))
    for task in ("bbox", "segm"):
        assert all(results[task][name] == 0 for name in ("AP", "AP50", "APm", "AP_overlapping"))
    content = json.loads((tmp_path / "analysis.json").read_text())
    assert content["false_negatives"] == content["num_objects"] > 0 == content["num_predictions"]
    assert content["errors"]["missed"]["count"] == content["num_objects"]


def test_results_are_written_in_cocos_form_with_its_category_ids(shapes, tmp_path):
    predictions = perfect_predictions(shapes)
    evaluate(shapes, predictions, output_dir=str(tmp_path))
    written = json.loads((tmp_path / "coco_instances_results.json").read_text())
    expected = [
        (image_id, category_id, score)
        for image_id, objects in predictions.items()
        for score, category_id, _, _ in objects
    ]
    assert [(r["image_id"], r["category_id"], r["score"]) for r in written] == expected
    assert len(written[0]["bbox"]) == 4 and written[0]["segmentation"].keys() == {"size", "counts"}


def test_without_annotations_the_results_are_written_and_not_scored(shapes, tmp_path):
    """As for the images of test-dev."""
    content = {k: v for k, v in shapes.truth.dataset.items() if k != "annotations"}
    (tmp_path / "test.json").write_text(json.dumps(content))
    folder = Path(DatasetCatalog.get(shapes.name)[0]["file_name"]).parent
    data = Dataset("evaluated_without_annotations", tmp_path / "test.json", folder)
    try:
        assert evaluate(data, perfect_predictions(shapes), output_dir=str(tmp_path)) == {}
    finally:
        DatasetCatalog.remove(data.name)
        MetadataCatalog.remove(data.name)
    assert json.loads((tmp_path / "coco_instances_results.json").read_text())


def test_results_are_not_written_without_a_folder(shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluate(shapes, perfect_predictions(shapes))
    assert list(tmp_path.iterdir()) == []


def box_iou(a, b):
    """IoU of two boxes XYWH."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def overlapping_ids(data):
    """Ids of the annotations whose box overlaps another one's, by plain loops."""
    objects = [a for a in data.truth.dataset["annotations"] if not a["iscrowd"]]
    return {
        a["id"]
        for a in objects
        for b in objects
        if a["image_id"] == b["image_id"] and a["id"] != b["id"]
        if box_iou(a["bbox"], b["bbox"]) >= OVERLAP
    }


def overlapping_ap(data, predictions, task, monkeypatch):
    ids = overlapping_ids(data)
    prepare = COCOeval._prepare

    def prepare_and_ignore(self):
        prepare(self)
        for truths in self._gts.values():
            for truth in truths:
                truth["ignore"] = truth["ignore"] or truth["id"] not in ids

    with monkeypatch.context() as patch:
        patch.setattr(COCOeval, "_prepare", prepare_and_ignore)
        return score_with_pycocotools(data, predictions, task)["AP"]


@pytest.mark.parametrize("name", ["shapes", "photographs"])
def test_the_ap_of_overlapping_instances_equals_pycocotools_and_the_others_stay(
    name, request, monkeypatch
):
    data = request.getfixturevalue(name)
    predictions = jittered_predictions(data)
    with_it = evaluate(data, predictions, overlap_iou=OVERLAP)
    without = evaluate(data, predictions)
    for task in ("bbox", "segm"):
        actual = with_it[task].pop("AP_overlapping")
        expected = overlapping_ap(data, predictions, task, monkeypatch)
        assert actual == pytest.approx(expected, abs=1e-9)
        assert abs(actual - with_it[task]["AP"]) > 0.1
        assert with_it[task] == pytest.approx(without[task], nan_ok=True)


def test_instances_that_stand_alone_count_neither_hit_nor_missed(shapes):
    perfect = perfect_predictions(shapes)
    ids = overlapping_ids(shapes)
    boxes = {
        (a["image_id"], *a["bbox"][:2])
        for a in shapes.truth.dataset["annotations"]
        if a["id"] in ids
    }
    only = {
        image_id: [p for p in objects if (image_id, *p[2][:2]) in boxes]
        for image_id, objects in perfect.items()
    }
    assert 0 < sum(map(len, only.values())) < sum(map(len, perfect.values()))
    for predictions in (perfect, only):
        results = evaluate(shapes, predictions, overlap_iou=OVERLAP)
        assert results["segm"]["AP_overlapping"] == pytest.approx(100)
    missed = {image_id: objects[1:] for image_id, objects in only.items()}
    assert evaluate(shapes, missed, overlap_iou=OVERLAP)["segm"]["AP_overlapping"] < 99


@pytest.mark.parametrize("value", [0, 1, -0.5])
def test_an_overlap_out_of_range_is_refused(shapes, value):
    text = rf"overlap_iou must be in \(0, 1\), or null \(off\), got {value}\."
    with pytest.raises(InputError, match=text):
        evaluate(shapes, {}, overlap_iou=value)


@pytest.mark.parametrize(("limit", "expected"), [(100, 100 * 67 / 101), (300, 100.0), (-1, 100.0)])
def test_as_many_predictions_are_scored_as_the_model_returns(tmp_path, limit, expected):
    """150 objects in one image: COCO's metrics count 100 predictions, two thirds of them."""
    places = [(20 * i, 20 * j) for i in range(15) for j in range(10)]
    box = {"image_id": 1, "category_id": 1, "iscrowd": 0, "area": 100}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 200, "width": 300}],
        "annotations": [
            {"id": n, **box, "bbox": [x, y, 10, 10]} for n, (x, y) in enumerate(places)
        ],
        "categories": [{"id": 1, "name": "seed"}],
    }
    (tmp_path / "many.json").write_text(json.dumps(content))
    Image.new("RGB", (300, 200)).save(tmp_path / "a.png")
    name = f"many_objects_{limit}"
    records = load_dataset(name, json_file=str(tmp_path / "many.json"), image_root=str(tmp_path))
    evaluator = CocoEvaluator(name, str(tmp_path), tasks=["bbox"], num_pictures=0)
    head = FastRCNNOutputLayers(
        ShapeSpec(channels=4),
        box2box_transform=Box2BoxTransform((1.0, 1.0, 1.0, 1.0)),
        num_classes=1,
        test_topk_per_image=limit,
    )
    evaluator.wrap_model(torch.nn.ModuleList([head]))
    evaluator.reset()
    instances = Instances((200, 300))
    instances.pred_boxes = Boxes(torch.tensor([[x, y, x + 10.0, y + 10.0] for x, y in places]))
    instances.scores = torch.linspace(0.9, 0.5, len(places))
    instances.pred_classes = torch.zeros(len(places), dtype=torch.long)
    evaluator.process(records, [{"instances": instances}])
    assert evaluator.evaluate()["bbox"]["AP"] == pytest.approx(expected)
    (only_class,) = json.loads((tmp_path / "analysis.json").read_text())["classes"]
    assert only_class["AP"] == pytest.approx(expected)
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)
