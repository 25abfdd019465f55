"""Evaluation of a model, and of the averages of its weights, on the data of a config."""

import copy
import logging
from collections.abc import Iterable

from detectron2.config import instantiate
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset, print_csv_format
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn

from bpt_det.utils.progress import Tracked

from .ema import EMA_SUFFIX, Ema
from .protocols import UsesLoader, WrapsModel

logger = logging.getLogger(__name__)

EVALUATOR = "evaluator"  # of `dataloader.test`
FINAL_EVALUATOR = "final_evaluator"  # of `dataloader.final_test`


def evaluate(
    cfg: DictConfig,
    model: nn.Module,
    test_loader: Iterable | None = None,
    evaluator_key: str = EVALUATOR,
    suffix: str = "",
    evaluators: dict[str, DatasetEvaluator] | None = None,
) -> dict:
    """Run a model over data, log and return the metrics by task, rates in percent.

    Computes in float32, as Detectron2 does. Processes other than the main one return {}.

    Args:
        cfg: config with `dataloader`.
        model: takes the batches of ``test_loader``.
        test_loader: None builds `dataloader.test`.
        evaluator_key: key in `dataloader` of what computes the metrics.
        suffix: of the names of tasks, and of the evaluator's ``output_dir`` if it has one.
        evaluators: those built earlier for this loader, by suffix; gets the new one.
    """
    if test_loader is None:
        test_loader = instantiate(cfg.dataloader.test)
    evaluators = {} if evaluators is None else evaluators
    if suffix not in evaluators:
        evaluators[suffix] = _build_evaluator(cfg.dataloader[evaluator_key], suffix)
    evaluator = evaluators[suffix]
    if isinstance(evaluator, UsesLoader):
        evaluator.use_loader(test_loader)
    if isinstance(evaluator, WrapsModel):
        model = evaluator.wrap_model(model)
    results = inference_on_dataset(model, Tracked(test_loader, "evaluating"), evaluator) or {}
    results = {f"{task}{suffix}": metrics for task, metrics in results.items()}
    if comm.is_main_process():
        print_csv_format(results)
    return results


def _build_evaluator(settings: DictConfig, suffix: str) -> DatasetEvaluator:
    if suffix and settings.get("output_dir"):
        settings = copy.deepcopy(settings)
        settings.output_dir += suffix
    return instantiate(settings)


def evaluate_with_averages(
    cfg: DictConfig,
    model: nn.Module,
    test_loader: Iterable | None,
    evaluator_key: str,
    ema: Ema | None,
    evaluators: dict[str, DatasetEvaluator] | None = None,
) -> dict:
    """Evaluate a model and, where there are averages of its weights, again with these in it.

    Args:
        cfg, model, test_loader, evaluator_key, evaluators: of `evaluate`.
        ema: averages of the model's weights; their tasks have names that end in ``_ema``.
    """
    results = dict(evaluate(cfg, model, test_loader, evaluator_key, "", evaluators))
    if ema is not None:
        logger.info("Evaluating the averages of the weights")
        with ema.in_model():
            averaged = evaluate(cfg, model, test_loader, evaluator_key, EMA_SUFFIX, evaluators)
            results.update(averaged)
    return results
