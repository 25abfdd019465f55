"""Prompt size: hook that records the root mean square of each block's prompts over the training."""

import torch
from detectron2.engine import HookBase
from torch import nn

from ..protocols import prompted_networks


class RecordPromptRms(HookBase):
    """Puts ``prompt_rms_<block>`` into the event storage, the root mean square of its tokens.

    Register it before the hook that writes the metrics.

    Args:
        model: with prompted networks, none or several.
        period: iterations from one record to the next; the first iteration is recorded too.
    """

    def __init__(self, model: nn.Module, period: int) -> None:
        self.model = model
        self.period = period

    @torch.no_grad()
    def after_step(self) -> None:
        """Record, if it is time."""
        done = self.trainer.iter + 1
        if done % self.period and done != 1:
            return
        for _, network in prompted_networks(self.model):
            for index, prompt in network.prompts.named_children():
                rms = prompt(1).float().square().mean().sqrt().item()
                self.trainer.storage.put_scalar(f"prompt_rms_{index}", rms, smoothing_hint=False)
