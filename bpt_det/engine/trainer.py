"""Trainer: mixed precision, gradient accumulation, exact resume and a check of the losses."""

import contextlib
import logging
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import torch
from detectron2.engine import HookBase, SimpleTrainer
from detectron2.utils import comm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bpt_det.utils.errors import InputError

from .loaders import TrainLoader, position_seed
from .precision import Precision
from .result import DivergenceError
from .storage import RunStorage

logger = logging.getLogger(__name__)

_NEXT_STEP = "lower optimizer.lr and go on from the last good checkpoint, if there is one."


class Trainer(SimpleTrainer):
    """Detectron2's `SimpleTrainer`, whose every step depends on (seed, iteration, rank) alone.

    Iteration i is one step of the optimizer, on the mean gradient of the batches i * N to
    i * N + N - 1 of ``data_loader`` for ``accumulate_steps`` = N. W processes take the steps that
    one takes with W times as many batches of the same size.

    Args:
        model: takes a batch of ``data_loader`` and returns a dict of scalar losses.
        data_loader: endless batches.
        optimizer: over the trained parameters.
        precision: number format of the forward pass.
        seed: of the random choices inside the model, such as the sampling of proposals.
        accumulate_steps: batches of one iteration.
        clip_grad_norm: largest L2 norm of the gradient of all trained parameters; None: any.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: TrainLoader,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        seed: int,
        *,
        accumulate_steps: int = 1,
        clip_grad_norm: float | None = None,
    ) -> None:
        super().__init__(model, data_loader, optimizer)
        self.precision = precision
        self.grad_scaler = precision.grad_scaler()
        self.seed = seed
        self.accumulate_steps = accumulate_steps
        self.clip_grad_norm = clip_grad_norm
        self.is_stopped = False
        self.keeps_batch = False  # the next batch, for a hook to draw
        self.kept_batch: Any = None
        self.storage = RunStorage()
        self.hooks_after_checkpoint: list[HookBase] = []

    def register_hooks_after_checkpoint(self, hooks: Sequence[HookBase | None]) -> None:
        """Register the last hooks, the first of which saves checkpoints.

        A resumed run calls them once more for the iteration of its checkpoint, as an evaluation
        of it may not have come to its end.
        """
        self.hooks_after_checkpoint = [hook for hook in hooks if hook is not None]
        self.register_hooks(self.hooks_after_checkpoint)

    def stop(self) -> None:
        """End the training after this iteration; hooks call this."""
        self.is_stopped = True

    def train(self, start_iter: int, max_iter: int) -> None:
        """Run the iterations from ``start_iter`` up to ``max_iter``, or until a hook calls `stop`.

        Detectron2's loop cannot end early. As there, hooks see ``iter == max_iter`` after the last
        iteration; after a failure or `stop` they see the iteration at which it happened.
        """
        logger.debug("Starting training from iteration %d", start_iter)
        self.iter = self.start_iter = start_iter
        self.max_iter = max_iter
        self.storage.iter = start_iter
        with self.storage:
            try:
                self.before_train()
                if start_iter > 0:
                    self._complete_iteration(start_iter - 1)
                while not self.is_stopped and self.iter < max_iter:
                    self.before_step()
                    self.run_step()
                    self.after_step()
                    self.iter += not self.is_stopped
            except InputError:
                raise
            except Exception:  # a fault of ours: the log gets its traceback
                logger.exception("Training failed at iteration %d", self.iter)
                raise
            finally:
                self.after_train()
                if isinstance(self._data_loader_iter, Generator):  # else its loading processes
                    self._data_loader_iter.close()  # live until the garbage is collected

    def _complete_iteration(self, iteration: int) -> None:
        """Do what an iteration had left to do when the checkpoint was saved that is resumed."""
        self.iter = self.storage.iter = iteration
        for hook in self.hooks_after_checkpoint:
            hook.after_step()
        self.iter += not self.is_stopped

    def run_step(self) -> None:
        """Take one optimizer step on the next batches, unless a loss is not finite."""
        self.optimizer.zero_grad()
        parts = []
        data_time = 0.0
        for part in range(self.accumulate_steps):
            start = time.perf_counter()
            batch = next(self._data_loader_iter)
            data_time += time.perf_counter() - start
            if self.keeps_batch:
                self.kept_batch, self.keeps_batch = batch, False
            with self._synchronization(is_last_part=part == self.accumulate_steps - 1):
                parts.append(self._add_gradients(batch, part))
        means = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        self._write_metrics(means, data_time)
        if self.clip_grad_norm is not None:
            self._clip_gradients(self.clip_grad_norm)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def _add_gradients(self, batch: Any, part: int) -> dict[str, Tensor]:
        """Add the share of a batch to the gradient, and return its losses."""
        number = self.iter * self.accumulate_steps + part  # of this process
        number = number * comm.get_world_size() + comm.get_rank()  # in the run
        torch.manual_seed(position_seed(self.seed, number))
        try:
            with self.precision.autocast():
                losses = self.model(batch)
        except FloatingPointError as error:  # Detectron2's RPN looks at its proposals itself
            raise DivergenceError(
                f"the RPN's proposals became NaN or infinite at iteration {self.iter} ({error}); "
                f"training stopped: {_NEXT_STEP}",
                hint="resume",
            ) from error
        check_finite(losses, self.iter)
        self.grad_scaler.scale(sum(losses.values()) / self.accumulate_steps).backward()
        return {name: loss.detach().float() for name, loss in losses.items()}

    def _synchronization(self, *, is_last_part: bool) -> contextlib.AbstractContextManager:
        """Return the context in which processes exchange gradients only after the last part."""
        if is_last_part or not isinstance(self.model, DistributedDataParallel):
            return contextlib.nullcontext()
        return self.model.no_sync()

    def _clip_gradients(self, max_norm: float) -> None:
        """Log the gradient's norm as ``grad_norm``, and scale the gradient down to ``max_norm``."""
        self.grad_scaler.unscale_(self.optimizer)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, max_norm)
        if torch.isfinite(norm):
            self.storage.put_scalar("grad_norm", norm.item())
        elif not self.grad_scaler.is_enabled():  # else it skips the step and lowers its scale
            raise DivergenceError(
                f"the gradient's norm is {norm.item()} at iteration {self.iter}; training "
                f"stopped: {_NEXT_STEP}",
                hint="resume",
            )

    def state_dict(self) -> dict:
        """Return iteration, hooks, optimizer, latest metrics and the state of the loss scaler."""
        return {
            **super().state_dict(),
            "grad_scaler": self.grad_scaler.state_dict(),
            "storage": self.storage.state_dict(),
        }

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue from a state that `state_dict` returned.

        Learning rate, weight decay and the like stay as the optimizer was built: the config
        decides, so that a resumed run can change them.
        """
        settings = [
            {name: value for name, value in group.items() if name != "params"}
            for group in self.optimizer.param_groups
        ]
        super().load_state_dict(state_dict)
        for group, setting in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(setting, initial_lr=setting["lr"])
        _check_sizes(self.optimizer)
        self.storage.load_state_dict(state_dict["storage"])
        if state_dict["grad_scaler"] and self.grad_scaler.is_enabled():
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])


def _check_sizes(optimizer: torch.optim.Optimizer) -> None:
    """Check that averages of gradients are of the sizes of their parameters, which torch does not.

    Raises:
        ValueError: some are not.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                raise ValueError(
                    f"{name} of a parameter {tuple(parameter.shape)} is {tuple(value.shape)}"
                )


def check_finite(losses: Mapping[str, Tensor], iteration: int) -> None:
    """Check that scalar losses are finite.

    Raises:
        DivergenceError: a loss is NaN or infinite; names it, its value and the iteration.
    """
    values = torch.stack([loss.detach().float() for loss in losses.values()])
    if torch.isfinite(values).all():
        return
    bad = [f"{k}={v}" for k, v in zip(losses, values.tolist(), strict=True) if v - v != 0]
    raise DivergenceError(
        f"{', '.join(bad)} at iteration {iteration}; training stopped: {_NEXT_STEP}",
        hint="resume",
    )
