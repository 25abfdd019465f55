"""One evaluation of a model: on which data, by which evaluator, under which names."""

import copy
from collections.abc import Iterable

from detectron2.config import instantiate
from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn

EVALUATOR = "evaluator"  # of `dataloader.test`
FINAL_EVALUATOR = "final_evaluator"  # of `dataloader.final_test`


def evaluate(
    cfg: DictConfig,
    model: nn.Module,
    test_loader: Iterable | None = None,
    evaluator: str = EVALUATOR,
    suffix: str = "",
) -> dict:
    """Run a model over data, log and return the metrics by task, rates in percent.

    Computes in float32, as Detectron2 does. Processes other than the main one return {}.

    Args:
        cfg: config with `dataloader`.
        model: takes the batches of ``test_loader``.
        test_loader: None builds `dataloader.test`.
        evaluator: key in `dataloader` of what computes the metrics.
        suffix: of the names of tasks, and of the evaluator's ``output_dir`` if it has one.
    """
    if test_loader is None:
        test_loader = instantiate(cfg.dataloader.test)
    settings = cfg.dataloader[evaluator]
    if suffix and settings.get("output_dir"):
        settings = copy.deepcopy(settings)
        settings.output_dir += suffix
    judge = instantiate(settings)
    if hasattr(judge, "wrap_model"):  # one that takes the predictions in another form
        model = judge.wrap_model(model)
    results = inference_on_dataset(model, test_loader, judge) or {}
    results = {f"{task}{suffix}": metrics for task, metrics in results.items()}
    if comm.is_main_process():
        print_csv_format(results)
    return results
