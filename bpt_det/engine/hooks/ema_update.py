"""EMA update: hook that updates the averages of the weights."""

from detectron2.engine import HookBase

from ..ema import Ema


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
