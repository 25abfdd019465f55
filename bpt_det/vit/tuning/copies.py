"""Weights of a frozen ViT that are trained: as copies, so that the ViT itself stays as it was.

Shape legend: D embed_dim.
"""

import copy
from typing import Any

from torch import nn

from bpt_det.utils.errors import InputError

from .method import Parts, TuningMethod


class TrainedBlocks(TuningMethod):
    """Whole blocks are trained, usually the last k: placement ``last_<k>``.

    Source: the Partial-k baseline of VPT, arXiv:2203.12119. Stochastic depth of the ViT is used in
    the trained blocks.
    Trained parameters: all of a block. In a plain ViT with an MLP of 4 D: 12 D^2 + 13 D. ViT-B, the
    last block: 7,087,872.

    Args:
        placement: the blocks, see `resolve_placement`.
    """

    def build(self, block: Any) -> nn.Module:
        """Return a copy of the block that is trained."""
        return copy.deepcopy(block).requires_grad_(True)

    def replace(self, block: Any, trained: Any) -> Parts:
        """Return the copy for the block."""
        return {"": trained}


class BitFit(TuningMethod):
    """The biases of a block are trained: of its norms, its attention and its MLP.

    Source: Ben Zaken et al., arXiv:2106.10199. There all biases of a network; here the patch
    embedding and the final norm keep theirs, as tuning is placed in blocks.
    Trained parameters: all biases of a block. In a plain ViT with an MLP of 4 D: 11 D. ViT-B, all
    12 blocks: 101,376.

    Args:
        placement: the blocks, see `resolve_placement`.
    """

    has_weight_decay = False

    def build(self, block: Any) -> nn.Module:
        """Return copies of the biases by their names, with ``_`` for dots."""
        biases = {
            name.replace(".", "_"): nn.Parameter(bias.detach().clone())
            for name, bias in block.named_parameters()
            if name.endswith("bias")
        }
        if not biases:
            raise InputError(
                "BitFit trains biases, but the blocks of this ViT have none.", parameter="tuning"
            )
        return nn.ParameterDict(biases)

    def replace(self, block: Any, trained: Any) -> Parts:
        """Return the copies for the biases."""
        names = (name for name, _ in block.named_parameters() if name.endswith("bias"))
        return {name: trained[name.replace(".", "_")] for name in names}
