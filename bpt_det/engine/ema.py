"""Exponential moving average (EMA) of the trained weights, kept beside them and evaluated too."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from detectron2.engine import HookBase
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bpt_det.utils.errors import InputError, shorten
from bpt_det.vit.weights.files import compare_states

EMA = "ema"  # a checkpoint's key
EMA_SUFFIX = "_ema"  # of the tasks in the metrics of averaged weights


class Ema:
    """Averages of a model's trained parameters and of the running statistics of batch norms.

    A frozen ViT is not among them.

    Each update makes an average ``decay * average + (1 - decay) * weight``. The first averages are
    the weights themselves.

    Args:
        model: its parameters that require a gradient now and its running statistics are averaged.
            They must stay the same tensors; they may be those of the model inside a
            `DistributedDataParallel`.
        decay: in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if isinstance(model, DistributedDataParallel):
            model = model.module
        self._weights = {k: p.detach() for k, p in model.named_parameters() if p.requires_grad}
        self._weights.update(_running_statistics(model))
        self._averages = {name: weight.clone() for name, weight in self._weights.items()}
        self._update = get_ema_multi_avg_fn(decay)

    def reset(self) -> None:
        """Start again from the current weights."""
        _copy(self._weights, self._averages)

    def update(self) -> None:
        """Update the averages with the current weights."""
        if self._averages:
            self._update(list(self._averages.values()), list(self._weights.values()), None)

    @contextlib.contextmanager
    def in_model(self) -> Iterator[None]:
        """Put the averages into the model, and at the end its own weights back, bit for bit."""
        own = {name: weight.clone() for name, weight in self._weights.items()}
        _copy(self._averages, self._weights)
        try:
            yield
        finally:
            _copy(own, self._weights)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages by the names of the parameters; they are not copies."""
        return dict(self._averages)

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Copy the averages that `state_dict` returned.

        Raises:
            InputError: they are of other parameters than are trained here.
        """
        differing = sorted({k for keys in compare_states(state_dict, self._averages) for k in keys})
        if differing:
            raise InputError(
                f"the checkpoint's averages of weights (ema) and what is trained here differ in "
                f"{shorten(differing)}; build the model as in that run's config.yaml."
            )
        _copy(state_dict, self._averages)


class EmaUpdate(HookBase):
    """Updates the averages after each iteration; register it before saving and evaluation.

    An iteration whose step the loss scaler has skipped (float16) moves the averages too, toward
    the weights of the iteration before.
    """

    def __init__(self, ema: Ema) -> None:
        self.ema = ema

    def before_train(self) -> None:
        """Start from the weights that the run starts from, unless it was resumed."""
        if self.trainer.start_iter == 0:
            self.ema.reset()

    def after_step(self) -> None:
        """Update the averages with the weights of this iteration."""
        self.ema.update()


def build_ema(settings: DictConfig, model: nn.Module) -> Ema | None:
    """Return the averages that `train.ema.decay` asks for, or None."""
    decay = OmegaConf.select(settings, "ema.decay")
    return None if decay is None else Ema(model, decay)


def _running_statistics(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield mean and variance of each batch norm, by their names in the model."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            for statistic in ("running_mean", "running_var"):
                yield f"{name}.{statistic}", module.get_buffer(statistic)


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
