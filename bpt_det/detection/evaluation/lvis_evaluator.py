"""LVIS evaluator: metrics of datasets whose images are labeled for some categories only."""

import logging
import math
from collections.abc import Hashable, Sequence

import numpy as np
from faster_coco_eval import COCO
from torch import nn

from bpt_det.data.coco import LVIS_LISTS
from bpt_det.data.coco_dataset import CocoDataset, read_coco
from bpt_det.utils.errors import InputError, check_count

from .coco_evaluator import CocoEvaluator
from .packed_results import PackedResults
from .scoring import score_categories

logger = logging.getLogger(__name__)

_FREQUENCIES = ("r", "c", "f")  # rare, common, frequent: in 10, 100, more training images
_MOST_CATEGORIES = 100  # at once: the evaluation keeps a table of categories by images


class LvisEvaluator(CocoEvaluator):
    """LVIS's metrics: ``AP``, ``AP50``, ``AP75``, of sizes ``APs APm APl``, of ``APr APc APf``.

    The last are of rare, common and frequent categories. As the package ``lvis`` computes them: of
    an image only predictions of categories count that are annotated in it, or known to be absent
    (``neg_category_ids``). Of a category that is not fully annotated in it
    (``not_exhaustive_category_ids``) unmatched predictions do not count. Of each image the most
    confident predictions are taken, over all categories. Source: arXiv:1908.03195.

    Args:
        dataset_name: a registered dataset in LVIS's format.
        output_dir: folder for ``coco_instances_results.json``; None writes nothing.
        tasks: out of ``bbox`` and ``segm``.
        max_dets_per_image: predictions of an image that are taken.

    Raises:
        InputError: ``max_dets_per_image`` is below 1; in the evaluation: the annotation file is not
            in LVIS's format.
    """

    has_analysis = False

    def __init__(
        self,
        dataset_name: str,
        output_dir: str | None = None,
        tasks: Sequence[str] = ("bbox", "segm"),
        max_dets_per_image: int = 300,
    ) -> None:
        super().__init__(dataset_name, output_dir, tasks)
        check_count("max_dets_per_image", max_dets_per_image, parameter="max_dets_per_image")
        self._max_detections = max_dets_per_image

    def wrap_model(self, model: nn.Module) -> nn.Module:
        """Return a faster model for `process`; the limit of predictions is the evaluator's own."""
        limit = self._max_detections
        wrapped = super().wrap_model(model)
        self._max_detections = limit
        return wrapped

    def _score(
        self, truth: COCO, results: PackedResults, task: str, image_ids: list[int]
    ) -> dict[str, float]:
        return score_lvis(truth, results, task, image_ids, self._max_detections)

    def _read_truth(self) -> tuple[dict, dict]:
        content, numbers = super()._read_truth()
        dataset = read_coco(self._metadata.json_file)
        has_lists = any(LVIS_LISTS[0] in image for image in dataset.images.values())
        has_frequencies = all(
            category.get("frequency") in _FREQUENCIES for category in dataset.categories.values()
        )
        if not has_lists or not has_frequencies:
            lack = (
                "categories have no frequency" if has_lists else "images have no neg_category_ids"
            )
            raise InputError(
                f"annotation file '{self._metadata.json_file}' is not in LVIS's format: its "
                f"{lack}; evaluate it with CocoEvaluator."
            )
        _add_lvis_lists(content, dataset, self._metadata.thing_dataset_id_to_contiguous_id)
        return content, numbers


def _add_lvis_lists(content: dict, dataset: CocoDataset, indexes: dict[Hashable, int]) -> None:
    """Give content of `prepare_truth` the categories of LVIS's lists by its own numbers, in place.

    And the frequency of each category; that of classes that the dataset lacks has no effect.
    """
    for image, original in zip(content["images"], dataset.images.values(), strict=True):
        for key in LVIS_LISTS:
            image[key] = [indexes[c] + 1 for c in original.get(key, []) if c in indexes]
    frequencies = {i + 1: dataset.categories[key]["frequency"] for key, i in indexes.items()}
    for category in content["categories"]:
        category["frequency"] = frequencies.get(category["id"], "f")


def score_lvis(
    truth: COCO, results: PackedResults, task: str, image_ids: Sequence[int], max_detections: int
) -> dict[str, float]:
    """Return LVIS's metrics in percent; nan without an annotation that counts.

    Args:
        truth: with `LVIS_LISTS` of each image and ``frequency`` of each category.
        results: with the ids of ``truth``.
        task: ``bbox`` or ``segm``.
        image_ids: images that were run.
        max_detections: taken of an image, over all categories.
    """
    results = _of_labeled_categories(truth, _most_confident(results, max_detections))
    evaluation = score_categories(
        truth,
        results,
        task,
        image_ids,
        [max_detections],
        lvis_style=True,
        most_categories=_MOST_CATEGORIES,
    )
    params = evaluation.params
    precision = evaluation.eval["precision"][..., 0]  # threshold, recall, category, area
    thresholds = list(np.round(params.iouThrs, 2))
    areas = {label: precision[..., i] for i, label in enumerate(params.areaRngLbl)}
    categories = sorted(truth.dataset["categories"], key=lambda category: category["id"])
    values = {"AP": areas["all"]}
    values |= {f"AP{t}": areas["all"][thresholds.index(t / 100)] for t in (50, 75)}
    values |= {f"AP{name[0]}": areas[name] for name in ("small", "medium", "large")}
    for label in _FREQUENCIES:
        chosen = [i for i, c in enumerate(categories) if c["frequency"] == label]
        values[f"AP{label}"] = areas["all"][:, :, chosen]
    return {name: _mean_percent(value) for name, value in values.items()}


def _mean_percent(precision: np.ndarray) -> float:
    """Return the mean of what is known; -1 stands where a category has no annotation."""
    known = precision[precision > -1]
    return float(100 * known.mean()) if known.size else math.nan


def _most_confident(results: PackedResults, max_detections: int) -> PackedResults:
    order = np.lexsort((-results.scores, results.images))
    images = results.images[order]
    rank = np.arange(len(order)) - np.searchsorted(images, images)  # within the image
    return results.take(order[rank < max_detections])


def _of_labeled_categories(truth: COCO, results: PackedResults) -> PackedResults:
    """Return the results of categories that are in their image, or known not to be."""
    labeled = {i["id"]: {*i["neg_category_ids"]} for i in truth.dataset["images"]}
    for annotation in truth.dataset["annotations"]:
        labeled[annotation["image_id"]].add(annotation["category_id"])
    of_image = [labeled[image_id] for image_id in results.image_ids]
    pairs = zip(results.images.tolist(), results.category_ids.tolist(), strict=True)
    return results.take(np.array([category in of_image[i] for i, category in pairs], bool))
