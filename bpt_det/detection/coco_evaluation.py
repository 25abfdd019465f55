"""COCO's metrics for boxes and masks, computed by faster-coco-eval."""

import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from detectron2.evaluation import COCOEvaluator
from faster_coco_eval import COCO, COCOeval_faster

logger = logging.getLogger(__name__)


class CocoEvaluator(COCOEvaluator):
    """Detectron2's COCO evaluator with another implementation of the same metrics.

    Collection, tables and names of metrics (``bbox/AP`` … ``segm/AP-person``, in percent) are
    Detectron2's. Only images that were run are scored, so a subset needs no file of its own.

    Args:
        dataset_name: a registered COCO-format data set.
        output_dir: folder for ``coco_instances_results.json``; None writes nothing.
        tasks: out of ``bbox`` and ``segm``.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str | None = None,
        tasks: Sequence[str] = ("bbox", "segm"),
    ) -> None:
        super().__init__(
            dataset_name, tasks=tuple(tasks), output_dir=output_dir, use_fast_impl=False
        )

    def _eval_predictions(self, predictions: list[dict], img_ids: list[int] | None = None) -> None:
        """Called by `evaluate` with what `process` has collected; fills ``self._results``."""
        image_ids = img_ids or [prediction["image_id"] for prediction in predictions]
        results = list(itertools.chain(*(p["instances"] for p in predictions)))
        dataset_ids = {v: k for k, v in self._metadata.thing_dataset_id_to_contiguous_id.items()}
        for result in results:
            result["category_id"] = dataset_ids[result["category_id"]]
        if self._output_dir:
            path = Path(self._output_dir) / "coco_instances_results.json"
            logger.info("Saving results to %s", path)
            path.write_text(json.dumps(results))
        if not self._do_evaluation:
            logger.info("The annotation file holds no annotations to score against.")
            return
        truth = COCO(self._coco_api.dataset)
        for task in self._tasks:
            scored = _score(truth, results, task, image_ids) if results else None
            self._results[task] = self._derive_coco_results(
                scored, task, class_names=self._metadata.get("thing_classes")
            )


def _score(
    truth: COCO, results: list[dict], task: str, image_ids: Sequence[int]
) -> COCOeval_faster:
    """Return a summarised evaluation of COCO-format results."""
    if task == "segm":  # with a box beside it, the area of a mask would be taken from the box
        results = [{k: v for k, v in result.items() if k != "bbox"} for result in results]
    evaluation = COCOeval_faster(truth, truth.loadRes(results), task, print_function=logger.debug)
    evaluation.params.imgIds = sorted(image_ids)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation
