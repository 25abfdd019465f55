"""ViTDet backbone, trained as a whole: the baseline of prompts on a frozen ViT.

Source: Li et al., arXiv:2203.16527. Parameters have the names and shapes of official Detectron2's
`ViT` (`blocks.0.attn.rel_pos_h` …), so its published models load as they are and ours load there.
"""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from detectron2.modeling.backbone import Backbone
from timm.layers import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from bpt_det.utils.errors import InputError, shorten
from bpt_det.vit.embedding import grid_size
from bpt_det.vit.weights.files import compare_states
from bpt_det.vit.windowed_block import WindowedBlock

_NOT_IN_VITDET = ("cls_token", "norm.weight", "norm.bias")


class ViTDetBackbone(Backbone):
    """A plain ViT without class token and final norm, with windows and relative positions.

    All of it is trained.

    Args:
        vit: gives sizes, rates of stochastic depth and initial weights; it is copied. Relative
            positions start at 0.
        image_size: side in pixels of the square images that relative positions are stored for.
        window_size: side of an attention window in patches.
        global_block_indexes: blocks, counted from 0, that attend over the whole image; None: the
            last block of each quarter, as in all published models.
        out_feature: name of the returned map.

    Raises:
        InputError: sizes do not fit each other, or the ViT has parts that ViTDet's has not.
    """

    def __init__(
        self,
        vit: VisionTransformer,
        *,
        image_size: int = 1024,
        window_size: int = 14,
        global_block_indexes: Sequence[int] | None = None,
        out_feature: str = "last_feat",
    ) -> None:
        super().__init__()
        if not isinstance(vit, VisionTransformer):
            raise InputError(
                f"ViTDet is a plain ViT, and cannot be made of {type(vit).__name__}; use "
                "PromptedViTBackbone.",
                parameter="checkpoint",
            )
        patch_size, embed_dim = vit.patch_embed.patch_size[0], vit.embed_dim
        if image_size % patch_size:
            raise InputError(
                f"image_size={image_size} is not a multiple of {patch_size=}.",
                parameter="image_size",
            )
        global_blocks = _global_blocks(global_block_indexes, len(vit.blocks))
        self.patch_embed = PatchEmbed(None, patch_size, embed_dim=embed_dim, output_fmt="NHWC")
        self.pos_embed = nn.Parameter(vit.pos_embed.detach().clone())  # the first: of a class token
        self.blocks = nn.ModuleList(
            WindowedBlock(
                embed_dim,
                block.attn.num_heads,
                grid_size=image_size // patch_size,
                window_size=0 if index in global_blocks else window_size,
                mlp_ratio=block.mlp.fc1.out_features / embed_dim,
                drop_path_rate=getattr(block.drop_path1, "drop_prob", 0.0),
                eps=block.norm1.eps,
            )
            for index, block in enumerate(vit.blocks)
        )
        self._out_features = [out_feature]
        self._out_feature_strides = {out_feature: patch_size}
        self._out_feature_channels = {out_feature: embed_dim}
        _copy_weights(vit, self)

    def parameter_depths(self) -> dict[nn.Parameter, int]:
        """Return how deep each parameter lies, see `PromptedViT.parameter_depths`."""
        depths = dict.fromkeys(self.parameters(), 0)
        for index, block in enumerate(self.blocks):
            depths |= dict.fromkeys(block.parameters(), index + 1)
        return depths

    @property
    def size_divisibility(self) -> int:
        """Pixels that H and W must be a multiple of."""
        return self.patch_embed.patch_size[0]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return ``{out_feature: (B, D, H/patch, W/patch)}`` of images (B, 3, H, W).

        Raises:
            InputError: a side is not a multiple of the patch size.
        """
        height, width = grid_size(self.size_divisibility, *images.shape[-2:])
        tokens = self.patch_embed(images) + self._positions(height, width)  # (B, H, W, D) of tokens
        for block in self.blocks:
            tokens = block(tokens)
        return {self._out_features[0]: tokens.permute(0, 3, 1, 2)}

    def _positions(self, height: int, width: int) -> Tensor:
        """Return the absolute positions of a grid of patches, (1, height, width, D).

        timm's `resample_abs_pos_embed` is not used: its antialiasing is another cubic kernel
        (a = -0.5 where ViTDet has -0.75), also where the grid grows.
        """
        grid = self.pos_embed[:, 1:].transpose(1, 2)
        side = math.isqrt(grid.shape[2])
        grid = grid.unflatten(2, (side, side))
        if (height, width) != (side, side):
            grid = F.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False)
        return grid.permute(0, 2, 3, 1)


def last_of_quarters(num_blocks: int) -> set[int]:
    """Return the indexes of the last blocks of four equal parts: ViTDet's global ones."""
    return {num_blocks * quarter // 4 - 1 for quarter in (1, 2, 3, 4)}


def _global_blocks(indexes: Sequence[int] | None, num_blocks: int) -> set[int]:
    if indexes is None:
        return last_of_quarters(num_blocks)
    if not set(indexes) <= set(range(num_blocks)):
        raise InputError(
            f"global_block_indexes={list(indexes)} must lie in [0, {num_blocks - 1}]: the ViT has "
            f"{num_blocks=}.",
            parameter="global_block_indexes",
        )
    return set(indexes)


def _copy_weights(vit: VisionTransformer, backbone: ViTDetBackbone) -> None:
    state = {name: v for name, v in vit.state_dict().items() if name not in _NOT_IN_VITDET}
    own = {name: v for name, v in backbone.state_dict().items() if ".attn.rel_pos_" not in name}
    differences = [name for names in compare_states(state, own) for name in names]
    if differences:
        raise InputError(
            f"ViTDet is a plain ViT, but this ViT differs in {shorten(differences)}; build it "
            "with weights of a plain one, not of timm's variants.",
            parameter="checkpoint",
        )
    backbone.load_state_dict(state, strict=False)
