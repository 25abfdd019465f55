"""COCO evaluator: metrics of boxes and masks, computed by faster-coco-eval."""

import copy
import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.utils import comm
from faster_coco_eval import COCO
from torch import nn

from bpt_det.data.coco_dataset import read_coco
from bpt_det.utils.atomic import atomic_write, optional_write
from bpt_det.utils.errors import InputError, check_count
from bpt_det.visualization.evaluation_figures import MASKS_FOLDER

from ..datasets import set_classes
from .analysis_files import write_analysis
from .analyzed_evaluation import AnalyzedEvaluation
from .matching import match_predictions
from .overlapping import keep_overlapping, score_overlapping
from .packed_results import PackedResults
from .prediction_sheet import PredictionSheet
from .roi_mask_detector import roi_instances_to_coco, without_pasting
from .scoring import MOST_DETECTIONS, score_results
from .truth import encode_masks, prepare_truth

logger = logging.getLogger(__name__)

_UNLIMITED = 100_000  # predictions of an image, where a model has no limit


class CocoEvaluator(COCOEvaluator):
    """Detectron2's COCO evaluator with another implementation of the same metrics.

    Collection, tables and names of metrics (``bbox/AP`` … ``segm/AP-person``, in percent) are
    Detectron2's. Only images that were run are scored, so a subset needs no file of its own.

    Args:
        dataset_name: a registered COCO-format dataset.
        output_dir: folder for ``coco_instances_results.json`` and the analysis of boxes; that of
            masks is in ``masks`` there. None writes nothing.
        tasks: out of ``bbox`` and ``segm``.
        num_pictures: images on the sheet of predictions beside ground truth that is written there,
            with other pictures, see `write_analysis`; 0: no pictures.
        overlap_iou: also give ``AP_overlapping``, the AP of the instances whose box has at least
            this IoU with the box of another instance, in (0, 1); the others are ignored as crowds
            are: detecting them counts neither for nor against a detector. None: do not.

    Raises:
        InputError: ``overlap_iou`` or ``num_pictures`` is out of range.
    """

    has_analysis = True  # of false positives, which take images that are labeled completely

    def __init__(
        self,
        dataset_name: str,
        output_dir: str | None = None,
        tasks: Sequence[str] = ("bbox", "segm"),
        overlap_iou: float | None = None,
        num_pictures: int = 6,
    ) -> None:
        check_count("num_pictures", num_pictures, least=0, parameter="num_pictures")
        if overlap_iou is not None and not 0 < overlap_iou < 1:
            raise InputError(
                f"overlap_iou must be in (0, 1), or null (off), got {overlap_iou}.",
                parameter="overlap_iou",
            )
        # Not Detectron2's own __init__, which reads the annotation file by other rules than ours.
        self._logger = logger
        self._distributed = True
        self._output_dir = output_dir
        self._tasks = tuple(tasks)
        self._cpu_device = torch.device("cpu")
        self._metadata = MetadataCatalog.get(dataset_name)
        self._overlap_iou = overlap_iou
        self._num_pictures = num_pictures
        self._sheet: PredictionSheet | None = None
        self._max_detections = MOST_DETECTIONS
        self._truth: tuple[dict, dict] | None = None  # see `prepare_truth`

    def wrap_model(self, model: nn.Module) -> nn.Module:
        """Return a faster model for `process`; see `bpt_det.engine.protocols.WrapsModel`.

        Masks are not pasted into images before they are encoded. The results are the same. As many
        predictions of an image are scored as the model returns at most, but no fewer than 100.
        """
        self._max_detections = max(MOST_DETECTIONS, detection_limit(model))
        return without_pasting(model)

    def process(self, inputs: Sequence[dict], outputs: Sequence[dict]) -> None:
        """Collect the predictions of a detector, wrapped or not, in the images of a batch."""
        for sample, output in zip(inputs, outputs, strict=True):
            image_id = sample["image_id"]
            instances = output["instances"].to(self._cpu_device)
            results = PackedResults.pack(roi_instances_to_coco(instances, image_id), [image_id])
            prediction = {"image_id": image_id, "instances": results}
            self._predictions.append({**prediction, "file_name": sample.get("file_name")})

    def evaluate(self, img_ids: list[int] | None = None) -> dict[str, dict[str, float]]:
        """Return the metrics by task on the main process, {} on the others or without an image.

        Unlike Detectron2's, writes no ``instances_predictions.pth``: the results are in JSON too.

        Args:
            img_ids: images to score; None: all that were run.
        """
        gathered = comm.gather(self._predictions)
        if not comm.is_main_process():
            return {}
        predictions = list(itertools.chain(*gathered))
        self._results: dict[str, dict[str, float]] = {}
        if predictions:
            self._eval_predictions(predictions, img_ids)
        else:
            logger.warning("No image was evaluated: there are no metrics.")
        return copy.deepcopy(self._results)

    def _eval_predictions(self, predictions: list[dict], img_ids: list[int] | None = None) -> None:
        """Called by `evaluate` with what `process` has collected; fills ``self._results``."""
        # Samplers that give each process as many images give some to two.
        files = {p["image_id"]: p.get("file_name") for p in predictions}
        results = PackedResults.join(
            list({p["image_id"]: p["instances"] for p in predictions}.values())
        )
        image_ids = img_ids or list(files)
        if self._truth is None:
            self._truth = self._read_truth()
        content, numbers = self._truth
        if self._output_dir:
            self._write_results(results, Path(self._output_dir) / "coco_instances_results.json")
        if not content["annotations"]:
            logger.warning("There are no annotations to score against: results are written alone.")
            return
        results = replace(
            results,
            image_ids=[numbers[image_id] for image_id in results.image_ids],
            category_ids=results.category_ids + 1,
        )
        image_ids = [numbers[image_id] for image_id in image_ids]
        truth = COCO(content)
        for task in self._tasks:
            if task == "segm" and "segmentation" not in content["annotations"][0]:
                logger.warning("No annotation has a segmentation: boxes alone are scored.")
                continue
            self._results[task] = self._score(truth, results, task, image_ids)
            values = {k: v for k, v in self._results[task].items() if "-" not in k}
            text = ", ".join(f"{name} {value:.2f}" for name, value in values.items())
            logger.info("%s: %s (%d images)", task, text, len(image_ids))
        if self.has_analysis:
            files = {numbers[image_id]: file for image_id, file in files.items()}
            for task in self._results:
                self._analyze(task, content, results, {i: files.get(i) for i in image_ids})
        if self._overlap_iou is not None:
            overlapping = keep_overlapping(content, self._overlap_iou)
            for task in self._results:
                limit = self._max_detections
                ap = score_overlapping(overlapping, results, task, image_ids, limit)
                self._results[task]["AP_overlapping"] = ap

    def _analyze(
        self, task: str, content: dict, results: PackedResults, files: dict[int, str | None]
    ) -> None:
        """Add the best F1 to the metrics of a task, and write what is known of the errors."""
        metrics = self._results[task]
        names = list(self._metadata.get("thing_classes"))
        annotations = [a for a in content["annotations"] if a["image_id"] in files]
        results = results.of_images(files)
        matches, objects = match_predictions(annotations, results, len(names), task)
        aps = {index: metrics.get(f"AP-{name}", math.nan) for index, name in enumerate(names)}
        if len(names) == 1:  # of which Detectron2 gives no AP of its own
            aps = {0: metrics["AP"]}
        evaluation = AnalyzedEvaluation(task, matches, objects, results, names, aps, files)
        best = evaluation.best
        metrics["F1"] = best.f1
        metrics["F1_threshold"] = math.nan if best.threshold is None else best.threshold
        if best.threshold is None:
            logger.info("%s: no prediction is matched with an object", task)
        else:
            logger.info(
                "%s: largest F1 %.2f at scores above %.2f, precision %.2f, recall %.2f",
                task,
                best.f1,
                best.threshold,
                best.precision,
                best.recall,
            )
        if not self._output_dir:
            return
        folder = Path(self._output_dir)
        if self._sheet is None and self._num_pictures and None not in files.values():
            self._sheet = PredictionSheet(content, self._num_pictures, folder)
        with optional_write():
            place = folder / MASKS_FOLDER if task == "segm" else folder
            write_analysis(place, evaluation, self._sheet)

    def _score(
        self, truth: COCO, results: PackedResults, task: str, image_ids: list[int]
    ) -> dict[str, float]:
        """Return the metrics of a task, in percent."""
        limit = self._max_detections
        scored = score_results(truth, results, task, image_ids, max_detections=limit)
        names = self._metadata.get("thing_classes")
        return self._derive_coco_results(scored, task, class_names=names)

    def _read_truth(self) -> tuple[dict, dict]:
        dataset = read_coco(self._metadata.json_file)
        if self._metadata.get("thing_dataset_id_to_contiguous_id") is None:
            set_classes(self._metadata, dataset)  # of a dataset that nobody has loaded
        indexes = self._metadata.thing_dataset_id_to_contiguous_id
        content, numbers = prepare_truth(dataset, indexes, len(self._metadata.thing_classes))
        return encode_masks(content) if "segm" in self._tasks else content, numbers

    def _write_results(self, results: PackedResults, path: Path) -> None:
        """Write results with the ids of the annotation file, those of its classes alone."""
        ids = {v: k for k, v in self._metadata.thing_dataset_id_to_contiguous_id.items()}
        chosen = results.take(np.isin(results.category_ids, list(ids)))
        if len(chosen) < len(results):
            logger.warning(
                "%d of %d predictions are of classes that the annotation file lacks: they are not "
                "written",
                len(results) - len(chosen),
                len(results),
            )
        logger.debug("Saving results to %s", path)
        with optional_write(), atomic_write(path) as partial, partial.open("w") as file:
            chosen.write_json(file, ids)


def detection_limit(model: nn.Module) -> int:
    """Return how many predictions of an image a model returns at most, 0 if that is not known."""
    heads = [m for m in model.modules() if isinstance(m, FastRCNNOutputLayers)]
    limits = [head.test_topk_per_image for head in heads]
    return max((_UNLIMITED if limit < 0 else limit for limit in limits), default=0)
