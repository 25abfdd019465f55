"""GateVPT's gate: how much of what a block makes of the prompts goes on to the next one.

Shape legend: B batch, P prompt_length, T tokens, D embed_dim.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bpt_det.prompts import Prompt
from bpt_det.utils.errors import InputError, check_finite

from .method import Parts, TuningMethod


class PromptGate(TuningMethod):
    """A gate g for the prompts of a block: ``g * output + (1 - g) * input``, g a sigmoid.

    Source: GateVPT, Yoo et al., arXiv:2306.05067; ryongithub/GatedPromptTuning@a9200bb
    src/models/vit_prompt/vit_mae.py, whose README has the first logit at -5. Its learned
    temperature of attention is not included.
    Trained parameters: 1 in a block, where another one with the same prompts follows. ViT-B with
    shallow prompts: 11.

    Args:
        initial_logit: of each gate, before the sigmoid.
        placement: the blocks; ``all``: all that hand prompts on, from the first prompted one to the
            last but one.
    """

    has_weight_decay = False
    shows_in_next_block = True

    def __init__(
        self, initial_logit: float = -5.0, *, placement: str | Sequence[int] = "all"
    ) -> None:
        super().__init__(placement)
        check_finite("initial_logit", initial_logit)
        self.initial_logit = initial_logit
        self._prompts = slice(0, 0)  # where they are in the sequence

    def attach(self, vit: Any, prompts: Mapping[int, Prompt]) -> None:
        """Make the gates; see `TuningMethod.attach`."""
        super().attach(vit, prompts)
        start = vit.num_prefix_tokens
        length = next(iter(prompts.values())).prompt_length
        self._prompts = slice(start, start + length)

    def _find_blocks(self, vit: Any, prompts: Mapping[int, Prompt]) -> Sequence[int]:
        if not prompts:
            raise InputError(
                "PromptGate needs prompts, but the model has none; set a prompt, or tuning=null.",
                parameter="tuning",
            )
        candidates = range(min(prompts), len(vit.blocks) - 1)
        useful = [index for index in candidates if index + 1 not in prompts]
        if not useful:
            raise InputError(
                "PromptGate has no block to act on: the prompts of each are replaced at the next; "
                "use placement=shallow for them.",
                parameter="placement",
            )
        if self.placement == "all":
            return useful
        asked = super()._find_blocks(vit, prompts)
        useless = [index for index in asked if index not in useful]
        if useless:
            raise InputError(
                f"PromptGate can only be in blocks that hand their prompts on, {useful}, not in "
                f"{useless}.",
                parameter="tuning.placement",
            )
        return asked

    def build(self, block: Any) -> nn.Module:
        """Return the gate of a block."""
        logit = torch.full((1,), float(self.initial_logit))
        return nn.ParameterDict({"logit": nn.Parameter(logit)})

    def replace(self, block: Any, trained: Any) -> Parts:
        """Return the block with its gate behind it."""
        return {"": _Gated(block, trained["logit"], self._prompts)}


class _Gated(nn.Module):
    """A block, and the gate of its prompts."""

    def __init__(self, block: nn.Module, logit: nn.Parameter, prompts: slice) -> None:
        super().__init__()
        self.block = block
        self.logit = logit
        self.prompts = prompts

    def forward(self, tokens: Tensor, **options: Any) -> Tensor:
        output = self.block(tokens, **options)
        gate = self.logit.sigmoid()
        # Copies, as a slice that is saved for the backward pass would keep all tokens in memory.
        new, old = output[:, self.prompts].clone(), tokens[:, self.prompts].clone()
        mixed = gate * new + (1 - gate) * old
        before, after = output[:, : self.prompts.start], output[:, self.prompts.stop :]
        return torch.cat([before, mixed.to(output.dtype), after], dim=1)
