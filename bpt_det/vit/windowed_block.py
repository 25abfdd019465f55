"""Windowed transformer block: attention on a grid of tokens, within windows or over all of it.

Shape legend: B batch, H W grid of tokens (not pixels), D embed_dim.
"""

from timm.layers import DropPath, Mlp
from timm.models.vision_transformer_sam import Attention, window_partition, window_unpartition
from torch import Tensor, nn


class WindowedBlock(nn.Module):
    """ViTDet's block: attention with decomposed relative positions, then an MLP.

    Composed of timm's parts. timm's own block is not used because its stochastic depth drops
    single windows, ViTDet's the whole image; otherwise they compute the same. Grids that are no
    multiple of the window are zero-padded after the norm, at the bottom and the right, and these
    zeros are attended to, as in the published models (arXiv:2203.16527).

    Args:
        embed_dim: D, token width.
        num_heads: attention heads, a divisor of D.
        grid_size: side of the square grid that relative positions of global attention are stored
            for; those of other grids are interpolated.
        window_size: side of a window in tokens; 0 attends over the whole grid.
        mlp_ratio: hidden width of the MLP as a multiple of D.
        drop_path_rate: probability, in [0, 1), that an image skips a branch in training.
        eps: of the norms, added to the variance.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        grid_size: int,
        *,
        window_size: int = 0,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        side = window_size or grid_size
        self.window_size = window_size
        self.norm1 = nn.LayerNorm(embed_dim, eps=eps)
        self.attn = Attention(embed_dim, num_heads, use_rel_pos=True, input_size=(side, side))
        self.norm2 = nn.LayerNorm(embed_dim, eps=eps)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio))
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens after the block, (B, H, W, D)."""
        tokens = tokens + self.drop_path(self._attend(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))

    def _attend(self, tokens: Tensor) -> Tensor:
        if not self.window_size:
            return self.attn(tokens)
        _, height, width, _ = tokens.shape
        windows, padded_size = window_partition(tokens, self.window_size)
        windows = self.attn(windows)
        return window_unpartition(windows, self.window_size, (height, width), padded_size)
