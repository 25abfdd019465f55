"""Training and evaluating what a LazyConfig describes; the same for every task."""

import copy
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from detectron2.config import instantiate
from detectron2.engine import default_writers, hooks
from detectron2.engine.defaults import create_ddp_model
from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn

from bpt_det.errors import InputError

from .checkpointer import FrozenAwareCheckpointer
from .hooks import BestCheckpoint
from .precision import resolve_device, resolve_precision
from .trainer import Trainer

logger = logging.getLogger(__name__)


def train(cfg: DictConfig, *, resume: bool = False) -> dict:
    """Train the model of a config and return the metrics of the last evaluation.

    Reads `model`, `dataloader.{train,test,evaluator}`, `optimizer`, `lr_multiplier` and of `train`:
    output_dir, init_checkpoint, max_iter, eval_period, log_period, checkpointer, device,
    precision, seed, best_metric and ddp.

    Args:
        cfg: a config with these keys.
        resume: continue from the last checkpoint of ``train.output_dir``, if there is one.

    Raises:
        InputError: something in the config or the data cannot be used.
    """
    device = resolve_device(cfg.train.device)
    model = instantiate(cfg.model).to(device)
    _log_trained_parameters(model)
    optimizer = _build_optimizer(cfg, model)
    data_loader = instantiate(cfg.dataloader.train)
    test_loader = instantiate(cfg.dataloader.test)  # now, so that bad data stop the run at once
    model = _distribute(model, device, cfg.train.ddp)
    precision = resolve_precision(cfg.train.precision, device)
    trainer = Trainer(model, data_loader, optimizer, precision, cfg.train.seed)
    checkpointer = FrozenAwareCheckpointer(model, cfg.train.output_dir, trainer=trainer)
    results: dict = {}

    def evaluate_and_keep() -> dict:
        if sys.exc_info()[0] is None:  # Detectron2 evaluates even where the last iteration failed
            results.clear()
            results.update(evaluate(cfg, model, test_loader))
        return results

    _register_hooks(cfg, trainer, checkpointer, evaluate_and_keep)
    checkpointer.resume_or_load(cfg.train.init_checkpoint, resume=resume)
    resumed = resume and checkpointer.has_checkpoint()
    start_iteration = trainer.iter + 1 if resumed else 0
    if len(set(comm.all_gather(start_iteration))) > 1:
        raise InputError(
            f"processes find different checkpoints in '{cfg.train.output_dir}'; it must be a "
            "folder that all machines share."
        )
    data_loader.start_iteration = start_iteration
    if start_iteration >= cfg.train.max_iter:
        raise InputError(
            f"'{cfg.train.output_dir}' has already been trained for {start_iteration} iterations; "
            "raise train.max_iter to go on, or use --eval-only --resume."
        )
    trainer.train(start_iteration, cfg.train.max_iter)
    return results


def evaluate(cfg: DictConfig, model: nn.Module, test_loader: Iterable | None = None) -> dict:
    """Run a model over the test data, log and return the metrics by task, rates in percent.

    Computes in float32, as Detectron2 does. Processes other than the main one return {}.

    Args:
        cfg: config with `dataloader`.
        model: takes the batches of ``test_loader``.
        test_loader: None builds `dataloader.test`.
    """
    if test_loader is None:
        test_loader = instantiate(cfg.dataloader.test)
    results = inference_on_dataset(model, test_loader, instantiate(cfg.dataloader.evaluator))
    if comm.is_main_process():
        print_csv_format(results)
    return results or {}


def load_trained_model(cfg: DictConfig, checkpoint: str = "") -> nn.Module:
    """Build the model of a config in evaluation mode and load its trained part.

    Args:
        cfg: config with `model` and `train`.
        checkpoint: file to load; if empty, ``train.init_checkpoint`` or else the last checkpoint
            of ``train.output_dir``.

    Raises:
        InputError: there is no such file, or it does not fit the model.
    """
    device = resolve_device(cfg.train.device)
    path = checkpoint or cfg.train.init_checkpoint or last_checkpoint(cfg.train.output_dir)
    model = instantiate(cfg.model).to(device).eval()
    FrozenAwareCheckpointer(model).load(path)
    return _distribute(model, device, cfg.train.ddp)


def last_checkpoint(output_dir: str) -> str:
    """Return the path of the checkpoint that a run would resume from.

    Raises:
        InputError: the folder holds none.
    """
    tag = Path(output_dir) / "last_checkpoint"
    if not tag.is_file():
        raise InputError(
            f"no checkpoint to load: '{output_dir}' holds none. Give one with "
            "train.init_checkpoint=PATH, or the run's folder with train.output_dir=FOLDER."
        )
    return str(tag.with_name(tag.read_text().strip()))


def _build_optimizer(cfg: DictConfig, model: nn.Module) -> torch.optim.Optimizer:
    optimizer = copy.deepcopy(cfg.optimizer)
    optimizer.params.model = model
    return instantiate(optimizer)


def _distribute(model: nn.Module, device: str, ddp: DictConfig) -> nn.Module:
    """Wrap the model where several processes train it; on the CPU it has no device ids."""
    devices = {} if device == "cuda" else {"device_ids": None}
    return create_ddp_model(model, **ddp, **devices)


def _register_hooks(
    cfg: DictConfig,
    trainer: Trainer,
    checkpointer: FrozenAwareCheckpointer,
    evaluate_and_keep: Callable[[], dict],
) -> None:
    is_main = comm.is_main_process()
    writers = default_writers(cfg.train.output_dir, cfg.train.max_iter) if is_main else []
    trainer.register_hooks(
        [
            hooks.IterationTimer(),
            hooks.LRScheduler(scheduler=instantiate(cfg.lr_multiplier)),
            hooks.PeriodicCheckpointer(checkpointer, **cfg.train.checkpointer) if is_main else None,
            hooks.EvalHook(cfg.train.eval_period, evaluate_and_keep),
            BestCheckpoint(checkpointer, cfg.train.best_metric) if is_main else None,
            hooks.PeriodicWriter(writers, period=cfg.train.log_period) if is_main else None,
        ]
    )


def _log_trained_parameters(model: nn.Module) -> None:
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    logger.info("Model:\n%s", model)
    logger.info("Parameters: %s trained, %s frozen", f"{trained:,}", f"{total - trained:,}")
