"""Matching, best F1, confusions and TIDE's errors against plain loops, and COCO's own AP50."""

import numpy as np
import pytest
from faster_coco_eval import COCO
from pycocotools import mask as coco_mask

from bpt_det.detection.evaluation import matching
from bpt_det.detection.evaluation.analysis import (
    confusion_matrix,
    count_errors,
    error_costs,
    errors_by_image,
    find_best_f1,
    precision_curves,
)
from bpt_det.detection.evaluation.matching import KINDS
from bpt_det.detection.evaluation.packed_results import PackedResults
from bpt_det.detection.evaluation.scoring import score_results

NUM_CLASSES, NUM_IMAGES = 3, 12
SIDE = 300  # of the images, pixels
TASKS = ("bbox", "segm")


def pack(results):
    return PackedResults.pack(results, range(1, NUM_IMAGES + 1))


def match_predictions(annotations, results, *settings):
    return matching.match_predictions(annotations, pack(results), *settings)


def iou_of(task, first, second, is_crowd=False):
    if task == "segm":
        first, second = (coco_mask.decode(a["segmentation"]).astype(bool) for a in (first, second))
        shared = (first & second).sum()
        return shared / (first.sum() if is_crowd else (first | second).sum())
    first, second = first["bbox"], second["bbox"]
    x0, y0 = max(first[0], second[0]), max(first[1], second[1])
    x1 = min(first[0] + first[2], second[0] + second[2])
    y1 = min(first[1] + first[3], second[1] + second[3])
    shared = max(0, x1 - x0) * max(0, y1 - y0)
    area = first[2] * first[3]
    return shared / (area if is_crowd else area + second[2] * second[3] - shared)


def with_mask(annotation, is_ellipse):
    """Give an annotation the ellipse in its box as its mask, or the half above a diagonal."""
    left, top, width, height = annotation["bbox"]
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    x, y = 2 * (x - left) / width - 1, 2 * (y - top) / height - 1
    pixels = x**2 + y**2 < 1 if is_ellipse else (abs(x) < 1) & (abs(y) < 1) & (y < x + 0.3)
    code = coco_mask.encode(np.asfortranarray(pixels, dtype=np.uint8))
    return {**annotation, "segmentation": code}


def random_content(seed):
    """Annotations and results of few places, so that every kind of error occurs."""
    random = np.random.default_rng(seed)
    annotations, results = [], []
    for image_id in range(1, NUM_IMAGES + 1):
        for _ in range(random.integers(0, 6)):
            box = [*random.uniform(0, 60, 2), *random.uniform(8, 120, 2)]
            category = int(random.integers(1, NUM_CLASSES + 1))
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "bbox": box}
            annotation |= {"category_id": category, "area": box[2] * box[3]}
            annotation["iscrowd"] = int(random.random() < 0.1)
            annotations.append(with_mask(annotation, is_ellipse=True))
            for _ in range(random.integers(0, 4)):
                moved = list(np.array(box) * random.uniform(0.6, 1.4, 4))
                other = category if random.random() < 0.6 else random.integers(1, NUM_CLASSES + 1)
                result = {"image_id": image_id, "category_id": int(other), "bbox": moved}
                result["score"] = float(random.random())
                results.append(with_mask(result, is_ellipse=random.random() < 0.8))
        result = {"image_id": image_id, "category_id": 1, "bbox": [200 + image_id, 200, 30, 30]}
        results.append(with_mask({**result, "score": 0.5 + image_id / 100}, is_ellipse=True))
    return annotations, results


def slow_kinds(annotations, results, task):
    """Kind of each result and ``{object: result}``, written as the definitions are."""
    objects = [a for a in annotations if not a["iscrowd"]]
    match, kinds = {}, {}
    order = sorted(range(len(results)), key=lambda i: -results[i]["score"])
    for i in order:
        result, best, best_iou = results[i], None, 0.5
        for j, annotation in enumerate(objects):
            if annotation["image_id"] != result["image_id"] or j in match:
                continue
            if annotation["category_id"] == result["category_id"]:
                iou = iou_of(task, result, annotation)
                if iou >= best_iou:
                    best, best_iou = j, iou
        if best is not None:
            match[best], kinds[i] = i, ("correct", best)
    for i, result in enumerate(results):
        if i in kinds:
            continue
        here = [a for a in annotations if a["image_id"] == result["image_id"]]
        same = {"own": (0, -1), "other": (0, -1)}
        is_ignored = False
        for annotation in here:
            is_own = annotation["category_id"] == result["category_id"]
            if annotation["iscrowd"]:
                inside = iou_of(task, result, annotation, is_crowd=True)
                is_ignored |= is_own and inside >= 0.5
                continue
            key = "own" if is_own else "other"
            iou = iou_of(task, result, annotation)
            same[key] = max(same[key], (iou, objects.index(annotation)))
        (own, own_object), (other, other_object) = same["own"], same["other"]
        if is_ignored:
            kinds[i] = ("ignored", -1)
        elif 0.1 <= own < 0.5:
            kinds[i] = ("localization", own_object)
        elif other >= 0.5:
            kinds[i] = ("classification", other_object)
        elif own >= 0.5:
            kinds[i] = ("duplicate", -1)
        elif max(own, other) <= 0.1:
            kinds[i] = ("background", -1)
        else:
            kinds[i] = ("both", -1)
    return objects, kinds, match


def slow_ap(points, num_objects):
    """AP50 in percent of (score, class, is correct) and objects left of the classes to score."""
    aps = []
    for index, count in num_objects.items():
        chosen = sorted((p for p in points if p[1] == index), key=lambda p: -p[0])
        if not chosen and not count:
            continue
        curve, found = [], 0
        for rank, (_, _, is_correct) in enumerate(chosen, 1):
            found += is_correct
            curve.append((found / count if count else 0, found / rank))
        precisions = []
        for least in np.linspace(0, 1, 101):  # rounded as COCO's
            higher = [p for recall, p in curve if recall >= least and count]
            precisions.append(max(higher, default=0))
        aps.append(sum(precisions) / 101)
    return 100 * sum(aps) / len(aps) if aps else 100


def slow_costs(annotations, results, slow):
    objects, kinds, match = slow
    category = [a["category_id"] - 1 for a in objects]
    totals = {c: category.count(c) for c in sorted(set(category))}
    counted = [i for i in kinds if kinds[i][0] != "ignored"]
    best = {}
    for i in sorted(counted, key=lambda i: -results[i]["score"]):
        kind, j = kinds[i]
        if kind in ("classification", "localization") and j not in match:
            best.setdefault(j, i)

    def points(fixed="", change=lambda i, s: s):
        chosen = []
        for i in counted:
            kind, j = kinds[i]
            own = results[i]["category_id"] - 1
            if kind != fixed:
                chosen.append((change(i, results[i]["score"]), own, kind == "correct"))
            elif best.get(j) == i:
                chosen.append((results[i]["score"], category[j], True))
        return chosen

    ap = slow_ap(points(), totals)
    costs = {kind: max(0, slow_ap(points(kind), totals) - ap) for kind in KINDS[:5]}
    missed = [c for j, c in enumerate(category) if j not in match and j not in best]
    left = {c: n - missed.count(c) for c, n in totals.items()}
    costs["missed"] = max(0, slow_ap(points(), left) - ap)
    by_truth = points(change=lambda i, s: float(kinds[i][0] == "correct"))
    costs["false_positives"] = slow_ap(by_truth, totals) - ap
    unmatched = [c for j, c in enumerate(category) if j not in match]
    found = {c: n - unmatched.count(c) for c, n in totals.items()}
    costs["false_negatives"] = slow_ap(points(), found) - ap
    return ap, costs


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", range(8))
def test_matches_and_costs_equal_those_of_plain_loops(seed, task):
    annotations, results = random_content(seed)
    matches, objects = match_predictions(annotations, results, NUM_CLASSES, task)
    slow_objects, kinds, match = slow = slow_kinds(annotations, results, task)
    assert objects == slow_objects
    names = {-1: "correct", -2: "ignored", **dict(enumerate(KINDS))}
    assert [names[k] for k in matches.kinds] == [kinds[i][0] for i in range(len(results))]
    assert {j: i for j, i in enumerate(matches.matched_by.tolist()) if i >= 0} == match
    is_fixable = matches.kinds >= 0
    expected = [kinds[i][1] for i in np.flatnonzero(is_fixable)]
    assert matches.targets[is_fixable].tolist() == expected
    ap, costs = slow_costs(annotations, results, slow)
    assert 100 * np.nanmean(precision_curves(matches)) == pytest.approx(ap)
    assert error_costs(matches) == pytest.approx(costs)


def test_all_kinds_of_errors_occur_in_what_is_compared_and_those_of_masks_are_others():
    seen = {task: set() for task in TASKS}
    for seed in range(8):
        content = random_content(seed)
        kinds = [match_predictions(*content, NUM_CLASSES, task)[0].kinds for task in TASKS]
        assert (kinds[0] != kinds[1]).any()
        for task, values in zip(TASKS, kinds, strict=True):
            seen[task] |= set(values.tolist())
    assert seen == dict.fromkeys(TASKS, {-2, -1, 0, 1, 2, 3, 4})


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_mean_precision_is_cocos_ap50(seed, task):
    annotations, results = random_content(seed)
    content = {
        "images": [{"id": i, "height": SIDE, "width": SIDE} for i in range(1, NUM_IMAGES + 1)],
        "annotations": annotations,
        "categories": [{"id": i, "name": str(i)} for i in range(1, NUM_CLASSES + 1)],
    }
    coco = score_results(COCO(content), pack(results), task, range(1, NUM_IMAGES + 1))
    matches, _ = match_predictions(annotations, results, NUM_CLASSES, task)
    assert np.nanmean(precision_curves(matches)) == pytest.approx(coco.stats[1])


def test_the_best_f1_is_the_largest_over_all_thresholds_and_splits_no_tie():
    random = np.random.default_rng(3)
    scores = random.integers(1, 12, 40) / 12
    is_correct = random.random(40) < scores
    best = find_best_f1(scores, is_correct, num_objects=30)
    thresholds = [0, *np.unique(scores)]
    all_f1 = [2 * (is_correct & (scores > t)).sum() / ((scores > t).sum() + 30) for t in thresholds]
    assert best.f1 == pytest.approx(100 * max(all_f1))
    kept = scores > best.threshold
    assert best.precision == pytest.approx(100 * is_correct[kept].mean())
    assert best.recall == pytest.approx(100 * is_correct[kept].sum() / 30)
    assert best.threshold not in scores


def test_without_a_match_there_is_no_threshold():
    best = find_best_f1(np.array([0.9]), np.array([False]), num_objects=2)
    assert best.threshold is None and best.f1 == 0


@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.8])
def test_above_a_threshold_all_is_as_if_the_other_predictions_were_not_there(threshold):
    annotations, results = random_content(5)
    above = match_predictions(annotations, results, NUM_CLASSES)[0].above(threshold)
    kept = [result for result in results if result["score"] > threshold]
    expected, _ = match_predictions(annotations, kept, NUM_CLASSES)
    for name in ("scores", "kinds", "targets", "matched_by", "classes"):
        assert np.array_equal(getattr(above, name), getattr(expected, name)), name


def test_confusions_and_counts_add_up_to_objects_and_predictions():
    annotations, results = random_content(6)
    matches, objects = match_predictions(annotations, results, NUM_CLASSES)
    counts = confusion_matrix(matches)
    assert counts[:-1].sum(axis=1).tolist() == matches.num_objects.tolist()
    is_counted = matches.kinds != -2
    by_class = np.bincount(matches.classes[is_counted], minlength=NUM_CLASSES)
    assert counts[:, :-1].sum(axis=0).tolist() == by_class.tolist()
    is_correct = matches.kinds == -1
    found = np.bincount(matches.classes[is_correct], minlength=NUM_CLASSES)
    assert np.diag(counts)[:-1].tolist() == found.tolist()
    assert counts[:-1, :-1].sum() > is_correct.sum()  # some were taken for another class
    by_size, by_kind = count_errors(matches, "size"), count_errors(matches, "class")
    assert by_size.sum(axis=0).tolist() == by_kind.sum(axis=0).tolist()
    wrong, unmatched = np.sum(list(errors_by_image(matches).values()), axis=0)
    assert wrong == (matches.kinds >= 0).sum() and unmatched == len(objects) - is_correct.sum()


def test_a_confused_object_is_counted_for_the_class_that_it_was_taken_for():
    box = [10, 10, 40, 40]
    truth = {"image_id": 1, "bbox": box, "area": 1600, "iscrowd": 0}
    annotations = [{**truth, "category_id": 1}]
    result = {"image_id": 1, "bbox": box}
    results = [{**result, "category_id": c, "score": s} for c, s in ((2, 0.9), (3, 0.8))]
    matches, _ = match_predictions(annotations, results, NUM_CLASSES)
    expected = np.zeros((4, 4), int)
    expected[0, 1] = expected[3, 2] = 1  # the second of them has no object
    assert np.array_equal(confusion_matrix(matches), expected)


def test_hundreds_of_masks_in_an_image_are_matched_one_by_one():
    places = [(8 * i, 8 * j) for i in range(30) for j in range(10)]
    entry = {"image_id": 1, "category_id": 1, "area": 25, "iscrowd": 0}
    truth = [with_mask({**entry, "bbox": [x, y, 5, 5]}, is_ellipse=False) for x, y in places]
    results = [{**annotation, "score": 1 - i / 999} for i, annotation in enumerate(truth)]
    matches, _ = match_predictions(truth, results, 1, "segm")
    assert matches.matched_by.tolist() == list(range(300))
    pixels = [coco_mask.decode(result["segmentation"]).sum() for result in results]
    assert matches.areas.tolist() == pixels


def test_sizes_are_those_of_coco():
    def count(side):
        results = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, side, side], "score": 1}]
        return count_errors(match_predictions([], results, 1)[0], "size").sum(axis=1).tolist()

    assert [count(31.9), count(32), count(95.9), count(96)] == [
        [1, 0, 0],
        [0, 1, 0],
        [0, 1, 0],
        [0, 0, 1],
    ]
