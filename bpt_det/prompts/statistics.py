"""What initializations from data need to know of a block's tokens.

Shape legend: I images, N patch tokens of an image, D embed_dim.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class BlockStatistics:
    """Statistics of the tokens that reach one block of a ViT without prompts.

    Attributes:
        second_moment: (D, D), float64, of M Xᵀ over tokens, not centered; M = Wq Wkᵀ of the block
            and X its tokens after the block's first norm. None: not collected.
        num_tokens: how many tokens it was taken over.
        tokens: (I, N, D), patch tokens of some images as they enter the block, in raster order.
            None: not collected.
        token_rms: root mean square of the entries of all tokens that enter the block.
        patch_size: side of the ViT's patches in pixels.
    """

    second_moment: Tensor | None
    num_tokens: int
    tokens: Tensor | None
    token_rms: float
    patch_size: int
