"""Training and evaluating what a LazyConfig describes; the same for every task."""

import logging
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.data import MetadataCatalog
from detectron2.engine.defaults import create_ddp_model
from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf
from torch import nn

from bpt_det.utils.errors import InputError
from bpt_det.vit import PromptedViT
from bpt_det.vit.statistics import load_statistics

from .checkpoint import FrozenAwareCheckpointer
from .ema import EMA, Ema, build_ema, evaluate_with_averages
from .evaluation import EVALUATOR, FINAL_EVALUATOR, evaluate
from .final_test import FinalTest, build_final_loader
from .hooks import BEST_NAME
from .loaders import TrainLoader
from .optimizer import build_optimizer, scale_learning_rate
from .precision import resolve_device, resolve_precision
from .sharing import build_around, frozen_vit_of
from .test_loader import prepare_loaders
from .trainer import Trainer
from .training_hooks import build_hooks

logger = logging.getLogger(__name__)

LAST_CHECKPOINT = "last_checkpoint"  # file that names it
CONFIG_NAME = "config.yaml"


def train(cfg: DictConfig, *, resume: bool = False) -> dict:
    """Train the model of a config; return the metrics of the last evaluation and the final test.

    Reads `model`, `dataloader`, `optimizer`, `lr_multiplier` and of `train` what
    configs/common/train.py has. Where there are `dataloader.final_test` and `.final_evaluator`, the
    best weights are tested on these data once, at the end.

    Args:
        cfg: a config with these keys.
        resume: continue from the last checkpoint of ``train.output_dir``, if there is one.

    Raises:
        InputError: something in the config or the data cannot be used.
    """
    device = resolve_device(cfg.train.device)
    is_resumed = resume and (Path(cfg.train.output_dir) / LAST_CHECKPOINT).is_file()
    if resume and not is_resumed:
        logger.warning("'%s' holds no checkpoint: starting anew", cfg.train.output_dir)
    model = _build_model(cfg, device, is_loaded=is_resumed or bool(cfg.train.init_checkpoint))
    ema = build_ema(cfg.train, model)
    optimizer = build_optimizer(cfg, model)
    data_loader = instantiate(cfg.dataloader.train)
    test_loader = instantiate(cfg.dataloader.test)  # now, so that bad data stop the run at once
    final_loader = build_final_loader(cfg)
    distributed = _distribute(model, device, cfg.train.ddp)
    trainer = _build_trainer(cfg, distributed, data_loader, optimizer, device)
    checkpointer = FrozenAwareCheckpointer(
        *(model, cfg.train.output_dir),
        class_names=_class_names(cfg, data_loader, "train"),
        is_resumed=is_resumed,
        **{"trainer": trainer, **_checkpointed(ema)},
    )
    results: dict = {}

    def evaluate_and_keep() -> dict:
        if sys.exc_info()[0] is None:  # Detectron2 evaluates even where the last iteration failed
            results.clear()
            results.update(_evaluate_both(cfg, distributed, test_loader, EVALUATOR, ema))
        return results

    test = partial(_evaluate_both, cfg, distributed, final_loader, FINAL_EVALUATOR, ema)
    final_test = None if final_loader is None else FinalTest(test, checkpointer, results)
    trainer.register_hooks(build_hooks(cfg, checkpointer, evaluate_and_keep, ema, final_test))
    checkpointer.resume_or_load(cfg.train.init_checkpoint, resume=resume)
    start_iteration = trainer.iter + 1 if is_resumed else 0
    has_final_test = final_test is not None
    _refuse_nothing_to_train(cfg.train, start_iteration, has_final_test=has_final_test)
    prepare_loaders([test_loader, data_loader], model)  # the smaller one first
    if resume and comm.is_main_process():  # not before all is accepted
        LazyConfig.save(cfg, str(Path(cfg.train.output_dir) / CONFIG_NAME))
    data_loader.start_batch = start_iteration * trainer.accumulate_steps
    trainer.train(start_iteration, cfg.train.max_iter)
    return results


def evaluate_checkpoint(cfg: DictConfig, checkpoint: str) -> dict:
    """Evaluate a trained model, and its averaged weights too where `train.ema.decay` is set.

    On `dataloader.final_test` if the config has it, else on `dataloader.test`.

    Args:
        cfg: config with `model`, `dataloader` and `train`.
        checkpoint: file to load.

    Raises:
        InputError: there is no such file, or it does not fit the model.
    """
    device = resolve_device(cfg.train.device)
    model = instantiate(cfg.model).to(device).eval()
    ema = build_ema(cfg.train, model)
    loader, evaluator = build_final_loader(cfg), FINAL_EVALUATOR
    if loader is None:
        loader, evaluator = instantiate(cfg.dataloader.test), EVALUATOR
    names = _class_names(cfg, loader, "test")
    FrozenAwareCheckpointer(model, class_names=names, **_checkpointed(ema)).load(checkpoint)
    model = _distribute(model, device, cfg.train.ddp)
    return _evaluate_both(cfg, model, loader, evaluator, ema)


def load_trained_model(
    cfg: DictConfig, checkpoint: str = "", *, share_vit_of: nn.Module | None = None
) -> nn.Module:
    """Build the model of a config in evaluation mode and load its trained part.

    Args:
        cfg: config with `model` and `train`.
        checkpoint: file to load; if empty, ``train.init_checkpoint`` or else the last checkpoint
            of ``train.output_dir``.
        share_vit_of: a model whose frozen ViT this one uses too, so that it is neither read from
            its file nor held in memory again. Prompts, placement and heads are those of ``cfg``;
            the device is that of the shared ViT.

    Raises:
        InputError: there is no such file, or it does not fit the model or the shared ViT.
    """
    path = checkpoint or cfg.train.init_checkpoint or last_checkpoint(cfg.train.output_dir)
    if share_vit_of is None:
        model = instantiate(cfg.model)
        device = torch.device(resolve_device(cfg.train.device))
    else:
        vit = frozen_vit_of(share_vit_of)
        model = build_around(vit, cfg)
        device = next(vit.parameters()).device  # elsewhere it would leave the other model
    model = model.to(device).eval()
    FrozenAwareCheckpointer(model).load(path)
    return _distribute(model, device.type, cfg.train.ddp)


def last_checkpoint(output_dir: str) -> str:
    """Return the path of the checkpoint that a run would resume from.

    Raises:
        InputError: the folder holds none.
    """
    tag = Path(output_dir) / LAST_CHECKPOINT
    if not tag.is_file():
        raise InputError(
            f"no checkpoint to load: '{output_dir}' holds none. Give one with "
            "train.init_checkpoint=PATH, or the run's folder with train.output_dir=FOLDER."
        )
    return str(tag.with_name(tag.read_text().strip()))


def _build_trainer(
    cfg: DictConfig,
    model: nn.Module,
    data_loader: TrainLoader,
    optimizer: torch.optim.Optimizer,
    device: str,
) -> Trainer:
    """Put the parts of a training together; keys that older configs lack have defaults."""
    accumulate_steps = cfg.train.get("accumulate_steps", 1)
    reference_batch_size = cfg.train.get("reference_batch_size")
    if reference_batch_size is not None:
        batch_size = data_loader.total_batch_size * accumulate_steps
        scale_learning_rate(optimizer, batch_size, reference_batch_size)
    return Trainer(
        model,
        data_loader,
        optimizer,
        resolve_precision(cfg.train.precision, device),
        cfg.train.seed,
        accumulate_steps=accumulate_steps,
        clip_grad_norm=cfg.train.get("clip_grad_norm"),
    )


def _checkpointed(ema: Ema | None) -> dict[str, Ema]:
    return {} if ema is None else {EMA: ema}


def _evaluate_both(
    cfg: DictConfig, model: nn.Module, loader: Iterable | None, evaluator: str, ema: Ema | None
) -> dict:
    """Evaluate weights, and their averages where there are some, on a loader (None: the test)."""
    return evaluate_with_averages(partial(evaluate, cfg, model, loader, evaluator), ema)


def _build_model(cfg: DictConfig, device: str, *, is_loaded: bool) -> nn.Module:
    """Build the model to train; a checkpoint loaded into it holds the values of its prompts."""
    model = instantiate(cfg.model).to(device)
    if not is_loaded:
        _initialize_prompts(model, cfg.train)
    _log_trained_parameters(model)
    return model


def _initialize_prompts(model: nn.Module, settings: DictConfig) -> None:
    """Read the token statistics that `train.prompt_statistics` names, if any prompts need them."""
    hosts = [module for module in model.modules() if isinstance(module, PromptedViT)]
    path = settings.get("prompt_statistics")
    needs_some = any(host.needed_statistics for host in hosts)
    statistics = load_statistics(path) if needs_some and path is not None else None
    for host in hosts:
        host.initialize_prompts(settings.seed, statistics)


def _class_names(cfg: DictConfig, loader: Iterable, split: str) -> list[str] | None:
    """Return what a loader's data call their classes, or the dataset registered for them."""
    names = getattr(loader, "class_names", None)
    if names is not None:
        return names
    name = OmegaConf.select(cfg, f"dataloader.{split}.dataset.names")
    return MetadataCatalog.get(name).get("thing_classes") if isinstance(name, str) else None


def _refuse_nothing_to_train(
    settings: DictConfig, start_iteration: int, *, has_final_test: bool
) -> None:
    """Refuse to go on with a run that has ended."""
    folder = settings.output_dir
    if len(set(comm.all_gather(start_iteration))) > 1:
        raise InputError(
            f"processes find different checkpoints in '{folder}'; it must be a folder that all "
            "machines share."
        )
    if start_iteration >= settings.max_iter:
        best = f"train.init_checkpoint={folder}/{BEST_NAME}.pth" if has_final_test else "--resume"
        raise InputError(
            f"'{folder}' has already been trained for {start_iteration} iterations; raise "
            f"train.{'epochs' if settings.get('epochs') else 'max_iter'} to go on, or use "
            f"--eval-only {best}."
        )


def _distribute(model: nn.Module, device: str, ddp: DictConfig) -> nn.Module:
    """Wrap the model where several processes train it; on the CPU it has no device ids."""
    devices = {} if device == "cuda" else {"device_ids": None}
    return create_ddp_model(model, **ddp, **devices)


def _log_trained_parameters(model: nn.Module) -> None:
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    logger.info("Model:\n%s", model)
    logger.info("Parameters: %s trained, %s frozen", f"{trained:,}", f"{total - trained:,}")
