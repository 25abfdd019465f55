"""Evaluation of a model, and of the averages of its weights, on the data of a config."""

import copy
import itertools
import logging
import time
from collections.abc import Iterable

import torch
import torch.distributed as dist
from detectron2.config import instantiate
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset, print_csv_format
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn

from bpt_det.utils.errors import InputError
from bpt_det.utils.progress import Tracked

from .ema import EMA_SUFFIX, Ema
from .precision import Precision, resolve_precision
from .processes import peers_of_run
from .protocols import UsesLoader, WrapsModel

logger = logging.getLogger(__name__)

EVALUATOR = "evaluator"  # of `dataloader.test`
FINAL_EVALUATOR = "final_evaluator"  # of `dataloader.final_test`

_LOOK_SECONDS = 0.25
_LONGEST_WAIT = 1800.0  # seconds, for processes of another machine of whose end nothing is heard
_waits = itertools.count()


def evaluate(
    cfg: DictConfig,
    model: nn.Module,
    test_loader: Iterable | None = None,
    evaluator_key: str = EVALUATOR,
    suffix: str = "",
    evaluators: dict[str, DatasetEvaluator] | None = None,
) -> dict:
    """Run a model over data, log and return the metrics by task, rates in percent.

    Computes in `train.eval_precision`; Detectron2 does in float32. Processes other than the main
    one return {}.

    Args:
        cfg: config with `dataloader` and `train`.
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
    batches = Tracked(test_loader, "evaluating")
    weights = next(model.parameters(), torch.empty(0))
    precision = evaluation_precision(cfg, weights.device.type)
    with precision.autocast():
        results = inference_on_dataset(model, batches, _Patient(evaluator)) or {}
    wait_for_all()  # the main process has computed the metrics
    results = {f"{task}{suffix}": metrics for task, metrics in results.items()}
    if comm.is_main_process():
        print_csv_format(results)
    return results


def evaluation_precision(cfg: DictConfig, device: str) -> Precision:
    """Return the precision in which a config is evaluated."""
    name = cfg.train.get("eval_precision", "float32")
    return resolve_precision(name, device, "train.eval_precision")


class _Patient(DatasetEvaluator):
    """An evaluator that gathers predictions once all processes have theirs."""

    def __init__(self, evaluator: DatasetEvaluator) -> None:
        self.reset = evaluator.reset
        self.process = evaluator.process
        self._evaluator = evaluator

    def evaluate(self) -> dict | None:
        wait_for_all()
        return self._evaluator.evaluate()


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


def wait_for_all() -> None:
    """Wait until all processes have come here, however long the slowest takes.

    To be called before communication that some may reach much earlier than others: torch ends a
    process whose communication lasts longer than its limit (NCCL: 10 minutes).

    Raises:
        PeerError: another process has ended.
        InputError: Detectron2's launcher has started processes on several machines, of whose end
            the others do not hear, and one has not come in half an hour.
    """
    world_size = comm.get_world_size()
    if world_size == 1:
        return
    peers = peers_of_run()
    store = dist.distributed_c10d._get_default_store()
    key, begin = f"bpt_det/wait/{next(_waits)}", time.monotonic()
    store.add(key, 1)
    while (count := store.add(key, 0)) < world_size:
        if peers is not None and peers.verdict is not None:
            raise peers.verdict
        is_watched = peers is not None or comm.get_local_size() == world_size
        if not is_watched and time.monotonic() - begin > _LONGEST_WAIT:
            raise InputError(
                f"{world_size - count} of {world_size} processes have not come in "
                f"{_LONGEST_WAIT:.0f} s; look at their machines, or start all with torchrun."
            )
        time.sleep(_LOOK_SECONDS)
