"""Simple feature pyramid of ViTDet: every level from the last feature map of a plain ViT.

Source: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection"
(arXiv:2203.16527). Modules and parameters have the names of official Detectron2
(`simfp_2.0.weight` …), so that published ViTDet weights fit.
"""

import math
from collections.abc import Sequence

from detectron2.layers import Conv2d
from detectron2.modeling.backbone import Backbone
from torch import Tensor, nn

from bpt_det.utils.compat import LayerNorm2d, pad_to_square
from bpt_det.utils.errors import InputError


class SimpleFeaturePyramid(Backbone):
    """Feature maps at several strides, made from one map by deconvolution or pooling.

    Args:
        net: single-scale backbone; its map has stride s and D channels.
        in_feature: name of that map among the outputs of ``net``. Where these are named
            ``<in_feature>.<number>``, each level is made from its own, the finest from the first.
        out_channels: channels of every level.
        scale_factors: resolution of each level relative to the map, out of 4, 2, 1 and 0.5,
            halving from one to the next.
        top_block: makes coarser levels from the last one, for instance `LastLevelMaxPool`.
        square_pad: side in pixels; smaller images are zero-padded at the right and bottom to a
            square of this side before ``net``. 0: no such padding. Larger images are left alone.

    Raises:
        InputError: the scale factors are not out of the above or another number than the maps, the
            stride of the map is no power of 2, or ``square_pad`` does not fit the coarsest level.
    """

    def __init__(
        self,
        net: Backbone,
        in_feature: str,
        out_channels: int,
        scale_factors: Sequence[float],
        top_block: nn.Module | None = None,
        square_pad: int = 0,
    ) -> None:
        super().__init__()
        self._in_features = _names_of_maps(net, in_feature, len(scale_factors))
        shape = net.output_shape()[self._in_features[0]]
        levels = [int(math.log2(shape.stride / scale)) for scale in scale_factors]
        if levels != list(range(levels[0], levels[0] + len(levels))):
            raise InputError(
                f"scale_factors must halve at each step, got {tuple(scale_factors)}.",
                parameter="scale_factors",
            )
        if shape.stride & (shape.stride - 1):
            raise InputError(
                f"the stride of '{in_feature}' must be a power of 2, got {shape.stride}."
            )
        self._stage_names = [f"simfp_{level}" for level in levels]
        for name, scale in zip(self._stage_names, scale_factors, strict=True):
            self.add_module(name, _stage(shape.channels, out_channels, scale))
        self.net = net
        self.in_feature = in_feature
        self.top_block = top_block
        self.square_pad = square_pad
        num_top_levels = top_block.num_levels if top_block is not None else 0
        levels += range(levels[-1] + 1, levels[-1] + 1 + num_top_levels)
        self._out_features = [f"p{level}" for level in levels]
        self._out_feature_strides = {f"p{level}": 2**level for level in levels}
        self._out_feature_channels = dict.fromkeys(self._out_features, out_channels)
        self._size_divisibility = step = 2 ** levels[len(scale_factors) - 1]
        if square_pad % step:
            below = max(step, square_pad // step * step)
            raise InputError(
                f"square_pad must be a multiple of {step}, such as {below} or {below + step}, got "
                f"{square_pad}.",
                parameter="square_pad",
            )

    @property
    def size_divisibility(self) -> int:
        """Pixels that H and W must be a multiple of; Detectron2 pads a batch to it."""
        return self._size_divisibility

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (H, W) at which an image of this size enters ``net`` when it is run alone."""
        step = self._size_divisibility
        rows, columns = (max(self.square_pad, -(-side // step) * step) for side in (height, width))
        return rows, columns

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the maps ``{"p2": (B, C, H/4, W/4), …}`` of images (B, 3, H, W), finest first."""
        bottom_up = self.net(pad_to_square(images, self.square_pad))
        maps = [
            getattr(self, stage)(bottom_up[feature])
            for stage, feature in zip(self._stage_names, self._in_features, strict=True)
        ]
        if self.top_block is not None:
            maps += self.top_block(maps[-1])
        return dict(zip(self._out_features, maps, strict=True))


def _names_of_maps(net: Backbone, in_feature: str, num_levels: int) -> list[str]:
    """Return the name of the map that each level is made from."""
    names = list(net.output_shape())
    own = [name for name in names if name.startswith(f"{in_feature}.")]
    if in_feature in names or not own:
        return [in_feature] * num_levels
    if len(own) != num_levels:
        raise InputError(
            f"each of the {num_levels} levels of the pyramid needs a layer of its own, but there "
            f"are {len(own)}; give as many layers as scale_factors, or join them.",
            parameter="layers",
        )
    return own


def _stage(in_channels: int, out_channels: int, scale: float) -> nn.Sequential:
    """One level: resample by ``scale``, then 1x1 and 3x3 convolutions, each with LayerNorm."""
    if scale == 4.0:
        width = in_channels // 4
        layers = [
            nn.ConvTranspose2d(in_channels, in_channels // 2, kernel_size=2, stride=2),
            LayerNorm2d(in_channels // 2),
            nn.GELU(),
            nn.ConvTranspose2d(in_channels // 2, width, kernel_size=2, stride=2),
        ]
    elif scale == 2.0:
        width = in_channels // 2
        layers = [nn.ConvTranspose2d(in_channels, width, kernel_size=2, stride=2)]
    elif scale == 1.0:
        width, layers = in_channels, []
    elif scale == 0.5:
        width, layers = in_channels, [nn.MaxPool2d(kernel_size=2, stride=2)]
    else:
        raise InputError(
            f"scale factors must be among 4, 2, 1 and 0.5, got {scale}.", parameter="scale_factors"
        )
    return nn.Sequential(
        *layers,
        Conv2d(width, out_channels, kernel_size=1, bias=False, norm=LayerNorm2d(out_channels)),
        Conv2d(
            out_channels,
            out_channels,
            kernel_size=3,
            padding=1,
            bias=False,
            norm=LayerNorm2d(out_channels),
        ),
    )
