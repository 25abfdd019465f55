"""What happens around the iterations of a training, and in which order."""

from collections.abc import Callable

from detectron2.config import instantiate
from detectron2.engine import HookBase, default_writers, hooks
from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf

from bpt_det.visualization.curves import DrawCurves

from .best_metric import BestMetric
from .checkpoint import FrozenAwareCheckpointer
from .ema import Ema, EmaUpdate
from .final_test import FinalTest, RaiseFinalTestError
from .hooks import BestCheckpoint, EarlyStopping, MetricsWriter


def build_hooks(
    cfg: DictConfig,
    checkpointer: FrozenAwareCheckpointer,
    evaluate: Callable[[], dict],
    ema: Ema | None,
    final_test: FinalTest | None,
) -> list[HookBase | None]:
    """Return the hooks of a training in the order in which they run; None stands for none.

    Args:
        cfg: config with `train` and `lr_multiplier`.
        checkpointer: of the run.
        evaluate: evaluates the model during the training and returns metrics by task.
        ema: averages to update.
        final_test: what to do with the best weights at the end.
    """
    settings = cfg.train
    is_main = comm.is_main_process()
    writers = default_writers(settings.output_dir, settings.max_iter) if is_main else []
    curves = settings.get("curves") if is_main else None
    return [
        hooks.IterationTimer(),
        hooks.LRScheduler(scheduler=instantiate(cfg.lr_multiplier)),
        None if ema is None else EmaUpdate(ema),
        *(instantiate(hook) for hook in settings.get("hooks") or ()),
        *_saving_and_evaluation(settings, checkpointer, evaluate),
        final_test,
        MetricsWriter(writers, period=settings.log_period, eval_period=settings.eval_period)
        if is_main
        else None,
        None if curves is None else DrawCurves(settings.output_dir, curves),
        None if final_test is None else RaiseFinalTestError(final_test),
    ]


def _saving_and_evaluation(
    settings: DictConfig, checkpointer: FrozenAwareCheckpointer, evaluate: Callable[[], dict]
) -> list[HookBase | None]:
    is_main = comm.is_main_process()
    metric = BestMetric(settings.best_metric, settings.get("best_metric_mode", "max"))
    save = hooks.PeriodicCheckpointer(checkpointer, **settings.checkpointer) if is_main else None
    evaluation = [
        hooks.EvalHook(settings.eval_period, evaluate),
        BestCheckpoint(checkpointer, metric) if is_main else None,
    ]
    patience = OmegaConf.select(settings, "early_stopping.patience")
    if patience is None:
        return [save, *evaluation]  # a failed evaluation loses no iteration
    period = settings.eval_period
    stop = EarlyStopping(checkpointer, metric, patience=patience, eval_period=period)
    return [*evaluation, stop, save]  # the checkpoint holds what its evaluation has found
