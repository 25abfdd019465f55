"""Run: training, evaluation and loading of what a LazyConfig describes, for every task."""

import contextlib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.engine import hooks
from detectron2.engine.defaults import create_ddp_model
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn

from bpt_det.config.loading import Datasets
from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError
from bpt_det.vit.statistics import load_statistics

from .checkpoint import BEST_NAME, FrozenAwareCheckpointer
from .ema import EMA, build_ema
from .evaluation import (
    EVALUATOR,
    FINAL_EVALUATOR,
    evaluate_with_averages,
    evaluation_precision,
)
from .faults import explained_faults
from .hooks import (
    BestCheckpoint,
    BestMetric,
    DrawBatch,
    DrawCurves,
    EmaUpdate,
    FinalTest,
    MetricsWriter,
    Progress,
    RecordPromptRms,
    ResultRecorder,
    SaveCheckpoints,
    build_early_stopping,
)
from .loaders import build_named_loader, find_category_ids, find_class_names
from .optim import build_optimizer, scale_learning_rate
from .precision import resolve_device, resolve_precision
from .processes import check_equal
from .protocols import FeatureCache, prompted_networks
from .report import REPORT_NAME, reported, try_to_report
from .result import list_settings, read_result
from .run_folder import last_checkpoint, run_folder
from .sharing import build_around, frozen_vit_of
from .starting import freeze_prompts, read_start
from .stopping import StopRequests
from .summary import summarize_evaluation, summarize_training
from .trackers import check_trackers
from .trainer import Trainer

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.yaml"


def train(cfg: DictConfig, *, resume: bool = False, datasets: Datasets | None = None) -> dict:
    """Train the model of a config; return the metrics of the last evaluation and the final test.

    Reads `model`, `dataloader`, `optimizer`, `lr_multiplier` and of `train` what
    configs/common/train.py has. Where there are `dataloader.final_test` and `.final_evaluator`, the
    ``train.final_weights`` are tested on these data once, at the end. Whichever way the run ends,
    result.json in ``train.output_dir`` says it.

    Args:
        cfg: a config with these keys.
        resume: continue from the last checkpoint of ``train.output_dir``, if there is one; do what
            is missing of a run that was killed after its last iteration.
        datasets: data that have been read already, in place of what the loaders would build.

    Raises:
        InputError: something in the config or the data cannot be used.
        DivergenceError: a loss, a gradient or a weight became NaN or infinite.
        RunStopped: a signal or ``train.max_time`` has stopped the run, which can be resumed.
    """
    settings = cfg.train
    folder = Path(settings.output_dir)
    is_main = comm.is_main_process()
    metric = BestMetric(settings.best_metric, settings.get("best_metric_mode", "max"))

    with contextlib.ExitStack() as stack:
        stops = stack.enter_context(StopRequests(settings.get("max_time")))
        start = stack.enter_context(run_folder(folder, resume=resume)) if is_main else None
        start = comm.all_gather(start)[0]
        is_resumed = start is not None
        has_ended = is_resumed and _has_ended(folder)
        has_report = is_main and bool(settings.get("report"))
        if has_ended and has_report and not (folder / REPORT_NAME).is_file():
            try_to_report(folder)  # the run was killed between its result and its report
        stack.enter_context(reported(folder, is_on=has_report))  # of the result
        recorder = stack.enter_context(
            ResultRecorder(cfg, folder, is_resumed=is_resumed, metric=metric)
        )
        stack.enter_context(explained_faults(cfg))
        check_equal(list_settings(cfg))
        trackers = settings.get("trackers", ["tensorboard"]) or []
        check_trackers(trackers)
        device = resolve_device(settings.device)
        model = instantiate(cfg.model).to(device)
        how = read_start(settings)
        if not is_resumed and not settings.init_checkpoint:  # checkpoints hold the prompts' values
            _initialize_prompts(model, settings)
        if how.prompts == "frozen":
            freeze_prompts(model)
        logger.debug("Model:\n%s", model)
        recorder.count_parameters(model)
        ema = build_ema(settings, model)
        optimizer = build_optimizer(cfg, model)
        train_loader = build_named_loader(cfg, "train", datasets)
        test_loader = build_named_loader(cfg, "test", datasets)  # bad data stop the run at once
        final_loader = build_named_loader(cfg, "final_test", datasets)
        accumulate_steps = settings.get("accumulate_steps", 1)
        batch_size = train_loader.total_batch_size * accumulate_steps
        scale_learning_rate(optimizer, batch_size, settings.get("reference_batch_size"))
        distributed = _distribute(model, device, settings.ddp)
        trainer = Trainer(
            distributed,
            train_loader,
            optimizer,
            resolve_precision(settings.precision, device, "train.precision"),
            settings.seed,
            accumulate_steps=accumulate_steps,
            clip_grad_norm=settings.get("clip_grad_norm"),
        )
        averages: dict[str, Any] = {} if ema is None else {EMA: ema}
        class_names = find_class_names(cfg, train_loader, "train")
        checkpointer = FrozenAwareCheckpointer(
            model,
            str(folder),
            class_names=class_names,
            category_ids=find_category_ids(cfg, "train"),
            is_resumed=is_resumed,
            start=None if is_resumed else how,
            trainer=trainer,
            **averages,
        )
        results: dict = {}
        evaluators: dict = {}  # built once: the annotation file of COCO metrics is read once

        def evaluate_now() -> dict:
            if sys.exc_info()[0] is not None:  # Detectron2 evaluates even where a step failed
                return {}
            results.clear()
            known = recorder.known_evaluation()
            if known is not None:  # of a part of the run that was killed after it
                results.update(known)
                recorder.add_evaluation(results)
                return results
            with save.stoppable():
                results.update(
                    evaluate_with_averages(
                        cfg, distributed, test_loader, EVALUATOR, ema, evaluators
                    )
                )
            recorder.add_evaluation(results)
            return results

        def test_finally() -> dict:
            with save.stoppable():
                final = evaluate_with_averages(cfg, distributed, final_loader, FINAL_EVALUATOR, ema)
            results.update(final)
            recorder.add_final_test(final)
            return final

        final_test = None
        if final_loader is not None:
            use_best = settings.get("final_weights", "best") == "best"
            final_test = FinalTest(test_finally, checkpointer, use_best=use_best)
        stop = build_early_stopping(settings, checkpointer, metric, has_ended=has_ended)
        save = SaveCheckpoints(
            checkpointer, **settings.checkpointer, retry_period=settings.log_period, stops=stops
        )
        write = MetricsWriter(
            folder if is_main else None,
            period=settings.log_period,
            eval_period=settings.eval_period,
            max_iter=settings.max_iter,
            trackers=trackers,
            settings=list_settings(cfg),
        )
        has_curves = settings.get("curves") is not None
        draw_batch = None
        if is_main and settings.get("draw_batch"):
            draw_batch = DrawBatch(folder, class_names, cfg.model.get("input_format", "RGB"))
        trainer.register_hooks(
            [
                hooks.IterationTimer(),
                hooks.LRScheduler(scheduler=instantiate(cfg.lr_multiplier)),
                Progress(settings.log_period, batch_size) if is_main else None,
                draw_batch,
                EmaUpdate(ema) if ema else None,
                RecordPromptRms(model, settings.log_period) if settings.get("prompt_rms") else None,
                *(instantiate(hook) for hook in settings.get("hooks") or ()),
            ]
        )
        trainer.register_hooks_after_checkpoint(
            [
                save,  # before the evaluation, whose failure loses no iteration
                hooks.EvalHook(settings.eval_period, evaluate_now),
                BestCheckpoint(checkpointer, metric, retry_period=settings.log_period)
                if is_main
                else None,
                stop,
                final_test,
                write,
                DrawCurves(folder, settings.curves) if is_main and has_curves else None,
                recorder,
            ]
        )
        if start is not None:
            checkpointer.resume(start)
        else:
            checkpointer.load(settings.init_checkpoint, checkpointables=[])
            if checkpointer.report is not None and checkpointer.report.has_new_prompts:
                _initialize_prompts(model, settings)
            checkpointer.start = None  # the best checkpoint of the run is loaded as it is
        start_iteration = trainer.iter + 1 if is_resumed else 0
        check_equal({"start": start_iteration, "training data": train_loader.fingerprint()})
        has_test = final_test is not None
        _check_start(settings, start_iteration, has_ended=has_ended, has_final_test=has_test)
        if stop is not None:
            stop.check_start()
        if cfg.dataloader.get("feature_cache") is not None:
            feature_cache: FeatureCache = instantiate(cfg.dataloader.feature_cache)
            feature_cache.fill(model, [test_loader, train_loader])  # the smaller one first
        if is_main:  # not before all is accepted
            save_config(cfg, folder)
        loaders = {"train": train_loader, "test": test_loader, "final_test": final_loader}
        summary = summarize_training(
            cfg,
            model,
            loaders,
            optimizer,
            trainer.precision,
            batch_size=batch_size,
            start_iteration=start_iteration,
        )
        logger.info("%s", summary)
        train_loader.start_batch = start_iteration * accumulate_steps
        with stops.deferred():
            trainer.train(start_iteration, settings.max_iter)
        if final_test is not None and final_test.error is not None:
            raise final_test.error  # what was trained and validated has been written before
    return results


def evaluate_checkpoint(
    cfg: DictConfig,
    checkpoint: str,
    *,
    output_dir: str | None = None,
    datasets: Datasets | None = None,
) -> dict:
    """Evaluate a trained model, and its averaged weights too where `train.ema.decay` is set.

    On `dataloader.final_test` if the config has it, else on `dataloader.test`.

    Args:
        cfg: config with `model`, `dataloader` and `train`.
        checkpoint: file to load.
        output_dir: folder for result.json and config.yaml; None writes neither.
        datasets: data that have been read already, in place of what the loader would build.

    Raises:
        InputError: there is no such file, or it does not fit the model.
    """
    has_report = output_dir is not None and bool(cfg.train.get("report"))
    with (
        reported(output_dir or "", is_on=has_report and comm.is_main_process()),
        ResultRecorder(cfg, output_dir) as recorder,
        explained_faults(cfg),
    ):
        device = resolve_device(cfg.train.device)
        model = instantiate(cfg.model).to(device).eval()
        recorder.count_parameters(model)
        ema = build_ema(cfg.train, model)
        loader, evaluator = build_named_loader(cfg, "final_test", datasets), FINAL_EVALUATOR
        if loader is None:
            loader, evaluator = build_named_loader(cfg, "test", datasets), EVALUATOR
        names = find_class_names(cfg, loader, "test")
        averages: dict[str, Any] = {} if ema is None else {EMA: ema}
        FrozenAwareCheckpointer(model, class_names=names, **averages).load(checkpoint)
        if output_dir and comm.is_main_process():
            save_config(cfg, Path(output_dir))
        precision = evaluation_precision(cfg, device)
        logger.info("%s", summarize_evaluation(cfg, model, loader, precision, checkpoint))
        model = _distribute(model, device, cfg.train.ddp)
        results = evaluate_with_averages(cfg, model, loader, evaluator, ema)
        recorder.add_final_test(results)
    return results


def load_trained_model(
    cfg: DictConfig,
    checkpoint: str = "",
    *,
    share_vit_of: nn.Module | None = None,
    content: dict[str, Any] | None = None,
) -> nn.Module:
    """Build the model of a config in evaluation mode and load its trained part.

    Args:
        cfg: config with `model` and `train`.
        checkpoint: file to load; if empty, ``train.init_checkpoint`` or else the last checkpoint
            of ``train.output_dir``.
        share_vit_of: a model whose frozen ViT this one uses too, so that it is neither read from
            its file nor held in memory again. Prompts, placement and heads are those of ``cfg``;
            the device is that of the shared ViT.
        content: what `read_checkpoint` has returned of the file; None reads it.

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
    FrozenAwareCheckpointer(model).load(path, content=content)
    return _distribute(model, device.type, cfg.train.ddp)


def save_config(cfg: DictConfig, folder: Path) -> None:
    """Write config.yaml into a folder, and the same into the log."""
    path = folder / CONFIG_NAME
    with atomic_write(path) as partial:
        LazyConfig.save(cfg, str(partial))
    logger.debug("Config:\n%s", path.read_text())


def _initialize_prompts(model: nn.Module, settings: DictConfig) -> None:
    """Read the token statistics that `train.prompt_statistics` names, if any prompts need them."""
    networks = [network for _, network in prompted_networks(model)]
    path = settings.get("prompt_statistics")
    needs_some = any(network.needed_statistics for network in networks)
    statistics = load_statistics(path) if needs_some and path is not None else None
    for network in networks:
        network.initialize_prompts(settings.seed, statistics)


def _has_ended(folder: Path) -> bool:
    """Return whether a run has written all that it ends with."""
    with contextlib.suppress(InputError):  # without a result, the end is done again
        return read_result(folder).status in ("finished", "stopped_early")
    return False


def _check_start(
    settings: DictConfig, start_iteration: int, *, has_ended: bool, has_final_test: bool
) -> None:
    """Check that the run has not ended."""
    folder = settings.output_dir
    if start_iteration > settings.max_iter or (has_ended and start_iteration == settings.max_iter):
        length = "epochs" if settings.get("epochs") else "max_iter"
        text = (
            f"'{folder}' has already been trained for {start_iteration} iterations; raise "
            f"train.{length} to go on, or only evaluate it"
        )
        if has_final_test:
            best = f"train.init_checkpoint={folder}/{BEST_NAME}.pth"
            raise InputError(f"{text} ({best}).", hint="evaluate")
        raise InputError(f"{text}.", hint="evaluate_last")


def _distribute(model: nn.Module, device: str, ddp: Mapping[str, Any]) -> nn.Module:
    """Wrap the model where several processes train it."""
    gpus = [torch.cuda.current_device()] if device == "cuda" else None
    return create_ddp_model(model, **ddp, device_ids=gpus)
