"""Evaluation workloads: mask pasting, run-length encoding and COCO's metrics, without a model.

Ours, and Detectron2's, which pastes each mask into an image of its own, encodes it, and scores
with pycocotools. The predictions are synthetic, see `simulate_predictions`.
"""

import contextlib
import io
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from detectron2.config import instantiate
from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.evaluation.coco_evaluation import _evaluate_predictions_on_coco
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Instances
from faster_coco_eval import COCO as FastCOCO
from omegaconf import DictConfig
from pycocotools.coco import COCO

from bpt_det.detection.evaluation.coco_evaluator import CocoEvaluator
from bpt_det.detection.evaluation.packed_results import PackedResults
from bpt_det.detection.evaluation.roi_mask_detector import (
    postprocess_without_pasting,
    roi_instances_to_coco,
)
from bpt_det.detection.evaluation.scoring import score_results
from bpt_det.utils.errors import InputError

from .measure import Workload
from .synthetic import simulate_predictions
from .variant_table import EVALUATION, SCORING

_OURS, _THEIRS = "ours", "detectron2"
_LABELS = {_OURS: "ours", _THEIRS: "Detectron2 with pycocotools"}
_TASKS = ("bbox", "segm")
_NUM_METRICS = 12

Metrics = dict[str, np.ndarray]  # COCO's 12 numbers by task


@dataclass
class Comparison:
    """Two workloads that compute the same metrics, and their last metrics by variant."""

    workloads: list[Workload]
    metrics: dict[str, Metrics]

    def describe(self) -> str:
        """Return a line on how far the metrics differ."""
        ours, theirs = (self.metrics[name] for name in (_OURS, _THEIRS))
        difference = max(np.abs(ours[task] - theirs[task]).max() for task in _TASKS)
        rates = ", ".join(f"{task} AP {100 * ours[task][0]:.2f}" for task in _TASKS)
        count = _NUM_METRICS * len(_TASKS)
        return f"{count} metrics differ by at most {difference:.1e} ({rates})"


class SimulatedResults:
    """The first images of a config's test data, and predictions in them.

    Args:
        cfg: of detection.
        num_images: at most so many.
        seed: of the predictions.

    Raises:
        InputError: the data of the config are missing, or have no annotations.
    """

    def __init__(self, cfg: DictConfig, num_images: int, seed: int) -> None:
        records = instantiate(cfg.dataloader.test.dataset)[:num_images]
        self.name = cfg.dataloader.test.dataset.names
        if not any(record.get("annotations") for record in records):
            raise InputError(f"dataset '{self.name}' has no annotations to score against.")
        num_classes = cfg.model.roi_heads.num_classes
        self.image_ids = [record["image_id"] for record in records]
        self._predictions = [
            simulate_predictions(record, num_classes, seed + index)
            for index, record in enumerate(records)
        ]

    def outputs(self, postprocess: Callable) -> Iterator[Instances]:
        """Yield predictions as ``postprocess`` of a detector leaves them, one image at a time."""
        for predictions in self._predictions:
            copied = Instances(predictions.image_size, **predictions.get_fields())
            yield postprocess(copied, *copied.image_size)


def build_evaluation(simulated: SimulatedResults) -> Comparison:
    """Return the work after a detector's heads, for all images, one after the other."""
    metrics: dict[str, Metrics] = {}
    settings = {"output_dir": None, "tasks": _TASKS}
    ours = _recording(CocoEvaluator)(simulated.name, **settings)
    theirs = _recording(COCOEvaluator)(simulated.name, **settings, use_fast_impl=False)

    def run(variant: str, evaluator: COCOEvaluator, postprocess: Callable) -> None:
        evaluator.reset()
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
            for image_id, instances in zip(
                simulated.image_ids, simulated.outputs(postprocess), strict=True
            ):
                evaluator.process([{"image_id": image_id}], [{"instances": instances}])
            evaluator.evaluate(simulated.image_ids)
        metrics[variant] = evaluator.recorded

    return _compare(
        EVALUATION,
        len(simulated.image_ids),
        metrics,
        lambda: run(_OURS, ours, postprocess_without_pasting),
        lambda: run(_THEIRS, theirs, detector_postprocess),
    )


def build_scoring(simulated: SimulatedResults, num_images: int) -> Comparison:
    """Return only the computation of metrics, from encoded masks.

    Args:
        simulated: its images are repeated under new ids.
        num_images: in total.
    """
    content, results, image_ids = _repeat(simulated, num_images)
    with contextlib.redirect_stdout(io.StringIO()):
        truth, slow_truth = FastCOCO(content), COCO()
        slow_truth.dataset = content
        slow_truth.createIndex()
    metrics: dict[str, Metrics] = {}

    def run(variant: str, score: Callable[[str], object]) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            scored = {task: score(task) for task in _TASKS}
        metrics[variant] = {task: _stats(evaluation) for task, evaluation in scored.items()}

    def score_slowly(task: str) -> object:
        return _evaluate_predictions_on_coco(
            slow_truth, list(results), task, use_fast_impl=False, img_ids=image_ids
        )

    return _compare(
        SCORING,
        num_images,
        metrics,
        lambda: run(_OURS, lambda task: score_results(truth, results, task, image_ids)),
        lambda: run(_THEIRS, score_slowly),
    )


def _compare(
    measure: str,
    num_images: int,
    metrics: dict[str, Metrics],
    ours: Callable[[], None],
    theirs: Callable[[], None],
) -> Comparison:
    runs = {_OURS: ours, _THEIRS: theirs}
    workloads = [
        Workload(measure, name, _LABELS[name], num_images, run, counts_flops=False)
        for name, run in runs.items()
    ]
    return Comparison(workloads, metrics)


def _recording(evaluator: type[COCOEvaluator]) -> type[COCOEvaluator]:
    """Return a subclass that keeps all of COCO's numbers, of which a report has half."""

    class Recording(evaluator):
        def reset(self) -> None:
            super().reset()
            self.recorded: Metrics = {}

        def _derive_coco_results(self, evaluation: object, task: str, **names: object) -> dict:
            self.recorded[task] = _stats(evaluation)
            return super()._derive_coco_results(evaluation, task, **names)

    return Recording


def _stats(evaluation: object) -> np.ndarray:
    return np.array(evaluation.stats[:_NUM_METRICS], np.float64)


def _repeat(
    simulated: SimulatedResults, num_images: int
) -> tuple[dict, PackedResults, Sequence[int]]:
    """Return the content of an annotation file, results, and ids, of repeated images."""
    content = json.loads(Path(MetadataCatalog.get(simulated.name).json_file).read_text())
    ids = MetadataCatalog.get(simulated.name).thing_dataset_id_to_contiguous_id
    dataset_ids = {contiguous: dataset_id for dataset_id, contiguous in ids.items()}
    images = {image["id"]: image for image in content["images"]}
    encoded = {}
    outputs = simulated.outputs(postprocess_without_pasting)
    for image_id, instances in zip(simulated.image_ids, outputs, strict=True):
        results = roi_instances_to_coco(instances, image_id)
        results = [{**r, "category_id": dataset_ids[r["category_id"]]} for r in results]
        encoded[image_id] = PackedResults.pack(results, [image_id])
    truth: dict[int, list] = {image_id: [] for image_id in simulated.image_ids}
    for annotation in content["annotations"]:
        if annotation["image_id"] in truth:
            truth[annotation["image_id"]].append(annotation)
    repeated = {"images": [], "annotations": [], "categories": content["categories"]}
    originals = list(itertools.islice(itertools.cycle(simulated.image_ids), num_images))
    for image_id, original in enumerate(originals, 1):
        repeated["images"].append({**images[original], "id": image_id})
        for annotation in truth[original]:
            new_id = len(repeated["annotations"]) + 1
            repeated["annotations"].append({**annotation, "image_id": image_id, "id": new_id})
    image_ids = range(1, num_images + 1)
    results = PackedResults.join([encoded[original] for original in originals])
    return repeated, replace(results, image_ids=image_ids), image_ids
