"""The training step: Detectron2's trainer with mixed precision, exact resume and a loss check."""

import time
from collections.abc import Mapping

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from torch import Tensor, nn

from bpt_det.errors import InputError

from .data import TrainLoader, derive_seed
from .precision import Precision

_NEXT_STEP = (
    "The last good checkpoint was kept: go on from it with --resume and a lower optimizer.lr."
)


class NonFiniteLossError(InputError):
    """A loss became NaN or infinite; no weights were changed by that iteration."""


class Trainer(SimpleTrainer):
    """Detectron2's `SimpleTrainer`, whose every step depends on (seed, iteration, rank) alone.

    Args:
        model: takes a batch of ``data_loader`` and returns a dict of scalar losses.
        data_loader: endless batches.
        optimizer: over the trained parameters.
        precision: number format of the forward pass.
        seed: of the random choices inside the model, such as the sampling of proposals.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: TrainLoader,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        seed: int,
    ) -> None:
        super().__init__(model, data_loader, optimizer)
        self.precision = precision
        self.grad_scaler = precision.grad_scaler()
        self.seed = seed

    def run_step(self) -> None:
        """Load a batch, compute its losses, and update the weights unless a loss is not finite."""
        start = time.perf_counter()
        batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        torch.manual_seed(derive_seed(self.seed, comm.get_rank(), self.iter))
        try:
            with self.precision.autocast():
                losses = self.model(batch)
        except FloatingPointError as error:  # Detectron2's RPN looks at its proposals itself
            raise NonFiniteLossError(
                f"the RPN's proposals became NaN or infinite at iteration {self.iter} ({error}); "
                f"training stopped. {_NEXT_STEP}"
            ) from error
        refuse_non_finite(losses, self.iter)
        self.optimizer.zero_grad()
        self.grad_scaler.scale(sum(losses.values())).backward()
        self._write_metrics(losses, data_time)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def state_dict(self) -> dict:
        """Return iteration, hooks, optimizer and the state of the loss scaler."""
        return {**super().state_dict(), "grad_scaler": self.grad_scaler.state_dict()}

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
        if state_dict["grad_scaler"] and self.grad_scaler.is_enabled():
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])


def refuse_non_finite(losses: Mapping[str, Tensor], iteration: int) -> None:
    """Check scalar losses by name.

    Raises:
        NonFiniteLossError: a loss is NaN or infinite; names it, its value and the iteration.
    """
    values = torch.stack([loss.detach().float() for loss in losses.values()])
    if torch.isfinite(values).all():
        return
    bad = [f"{k}={v}" for k, v in zip(losses, values.tolist(), strict=True) if v - v != 0]
    raise NonFiniteLossError(
        f"{', '.join(bad)} at iteration {iteration}; training stopped. {_NEXT_STEP}"
    )
