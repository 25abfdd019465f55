"""Our LVIS evaluator against the package `lvis`, its rules written out, and the truth itself."""

import contextlib
import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from bpt_det.data.coco_dataset import read_coco
from bpt_det.detection import LvisEvaluator, load_dataset
from bpt_det.shapes import write_shapes
from bpt_det.utils.errors import InputError
from tests.support.lvis_files import write_lvis

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")


class Dataset:
    """A registered dataset in LVIS's format, and its content."""

    def __init__(self, name, source, folder, images):
        self.name, self.path = name, folder / f"{name}.json"
        self.content = write_lvis(source, self.path, images.name)
        options = {"json_file": str(self.path), "image_root": str(images.parent)}
        load_dataset(name, filter_empty=False, **options)
        self.images = {image["id"]: image for image in self.content["images"]}
        self.category_ids = sorted(c["id"] for c in self.content["categories"])

    def mask(self, annotation):
        truth = COCO()
        truth.dataset, truth.imgs = self.content, self.images
        return truth.annToMask(annotation).astype(bool)


@pytest.fixture(scope="module", params=["shapes", "photographs"])
def data(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lvis")
    if request.param == "shapes":
        write_shapes(folder / "shapes", num_train=1, num_val=14, image_size=224, seed=1)
        source = folder / "shapes/annotations/instances_val.json"
        images = folder / "shapes/val"
    else:
        root = request.getfixturevalue("coco_root")
        source, images = root / "annotations/instances_val2017.json", root / "val2017"
    name = f"lvis_{request.param}"
    yield Dataset(name, source, folder, images)
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def true_predictions(data):
    """Return (score, category id, box XYXY, mask) of all objects, by image."""
    predictions = {key: [] for key in data.images}
    for a in data.content["annotations"]:
        x, y, width, height = a["bbox"]
        box = [x, y, x + width, y + height]
        predictions[a["image_id"]].append((1.0, a["category_id"], box, data.mask(a)))
    return predictions


def jittered_predictions(data):
    """Shifted, mislabeled, doubled and missed objects, and some of categories at random."""
    rng = np.random.default_rng(0)
    predictions = {}
    for image_id, objects in true_predictions(data).items():
        predictions[image_id] = []
        for _, category_id, box, mask in objects:
            for _ in range(rng.integers(0, 4)):
                x, y = (int(n) for n in rng.integers(-3, 4, size=2))
                if rng.random() < 0.3:
                    category_id = data.category_ids[rng.integers(len(data.category_ids))]
                moved = np.round(4 * np.add(box, [x, y, x, y])) / 4
                score = float(rng.integers(1, 1025)) / 1024
                shifted = np.roll(mask, (y, x), (0, 1))
                predictions[image_id].append((score, category_id, moved, shifted))
    return predictions


def evaluate(data, predictions, **options):
    evaluator = LvisEvaluator(data.name, **options)
    evaluator.reset()
    for image_id, objects in predictions.items():
        size = (data.images[image_id]["height"], data.images[image_id]["width"])
        scores, categories, boxes, masks = zip(*objects, strict=True) if objects else ([],) * 4
        instances = Instances(
            size,
            scores=torch.tensor(scores),
            pred_classes=torch.tensor([data.category_ids.index(c) for c in categories]).long(),
            pred_boxes=Boxes(torch.tensor(np.array(boxes, dtype=np.float32).reshape(-1, 4))),
            pred_masks=torch.tensor(np.array(masks, dtype=bool).reshape(-1, *size)),
        )
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    return evaluator.evaluate()


def score_with_lvis(data, predictions, task, max_dets):
    """Return the metrics that the package `lvis` gives of the same predictions, in percent."""
    lvis = pytest.importorskip("lvis", reason="pip install lvis")
    results = []
    for image_id, objects in predictions.items():
        for score, category_id, (left, top, right, bottom), mask in objects:
            result = {"image_id": image_id, "category_id": category_id, "score": score}
            if task == "bbox":
                result["bbox"] = [float(v) for v in (left, top, right - left, bottom - top)]
            else:
                result["segmentation"] = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
            results.append(result)
    truth = lvis.LVIS(str(data.path))
    evaluation = lvis.LVISEval(truth, lvis.LVISResults(truth, results, max_dets), task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "float", float, raising=False)  # which NumPy had when it was written
        evaluation.run()
    values = {name: 100 * evaluation.get_results()[name] for name in METRICS}
    return {name: value if value >= 0 else np.nan for name, value in values.items()}


@pytest.mark.parametrize("max_dets", [300, 5])
def test_equals_the_package_lvis(data, max_dets):
    predictions = jittered_predictions(data)
    results = evaluate(data, predictions, max_dets_per_image=max_dets)
    for task in ("bbox", "segm"):
        expected = score_with_lvis(data, predictions, task, max_dets)
        assert results[task] == pytest.approx(expected, abs=1e-9, nan_ok=True), task
        assert 5 < results[task]["AP"] < 95


def test_the_truth_is_perfect_and_every_frequency_has_its_metric(data):
    results = evaluate(data, true_predictions(data))
    for task in ("bbox", "segm"):
        assert tuple(results[task]) == METRICS
        known = [value for value in results[task].values() if np.isfinite(value)]
        assert len(known) >= 7 and known == pytest.approx([100] * len(known))


def _with_more(data, chosen):
    """Add to perfect predictions better scored ones far from any object; count them too."""
    predictions, count = true_predictions(data), 0
    for image_id, objects in predictions.items():
        image = data.images[image_id]
        mask = np.zeros((image["height"], image["width"]), dtype=bool)
        mask[:2, :2] = True
        own = {c for _, c, _, _ in objects}
        for category_id in chosen(image, own):
            objects[:] = [(0.5, *rest) for _, *rest in objects]
            objects.append((0.9, category_id, [0, 0, 2, 2], mask))
            count += 1
    assert count
    return evaluate(data, predictions)["bbox"]["AP"]


def test_what_counts_against_a_detector_follows_the_lists_of_the_image(data):
    """Written out: nothing is said of some categories, others are absent, others not exhaustive."""
    lists = [
        (i["neg_category_ids"], i["not_exhaustive_category_ids"]) for i in data.images.values()
    ]
    assert all(any(group) for group in zip(*lists, strict=True))

    def unknown(image, own):
        return [c for c in data.category_ids if c not in own and c not in image["neg_category_ids"]]

    assert _with_more(data, unknown) == pytest.approx(100)
    assert _with_more(data, lambda i, own: i["not_exhaustive_category_ids"]) == pytest.approx(100)
    assert _with_more(data, lambda i, own: i["neg_category_ids"]) < 99
    assert _with_more(data, lambda i, own: own - {*i["not_exhaustive_category_ids"]}) < 99


def test_categories_are_scored_in_groups_of_any_size(data, monkeypatch):
    predictions = jittered_predictions(data)
    whole = evaluate(data, predictions)
    monkeypatch.setattr("bpt_det.detection.evaluation.lvis_evaluator._MOST_CATEGORIES", 3)
    assert evaluate(data, predictions)["segm"] == pytest.approx(whole["segm"], nan_ok=True)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda c: [i.pop("neg_category_ids") for i in c["images"]], "images have no neg_category"),
        (lambda c: c["categories"][1].pop("frequency"), "categories have no frequency"),
    ],
)
def test_a_file_of_another_format_is_refused(data, tmp_path, spoil, text):
    content = json.loads(data.path.read_text())
    spoil(content)
    path = tmp_path / "other.json"
    path.write_text(json.dumps(content))
    root = MetadataCatalog.get(data.name).image_root
    name = f"not_{data.name}"
    load_dataset(name, json_file=str(path), image_root=root, filter_empty=False)
    with contextlib.ExitStack() as stack:
        stack.callback(MetadataCatalog.remove, name)
        stack.callback(DatasetCatalog.remove, name)
        evaluator = LvisEvaluator(name)
        evaluator.reset()
        image_id = next(iter(read_coco(path).images))
        empty = Instances((4, 4), scores=torch.zeros(0), pred_classes=torch.zeros(0).long())
        empty.pred_boxes, empty.pred_masks = Boxes(torch.zeros(0, 4)), torch.zeros(0, 4, 4).bool()
        evaluator.process([{"image_id": image_id}], [{"instances": empty}])
        with pytest.raises(InputError, match=f"is not in LVIS's format: its {text}"):
            evaluator.evaluate()
