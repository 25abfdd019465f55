"""Detectron2 backbone around the prompted ViT."""

from collections.abc import Sequence

from detectron2.modeling.backbone import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

from bpt_det.prompts import Prompt
from bpt_det.utils.errors import InputError, check_choice
from bpt_det.vit import PromptedViT
from bpt_det.vit.tuning import TuningMethod

from .neck import JOINS, Neck, resolve_layers


@BACKBONE_REGISTRY.register()
class PromptedViTBackbone(Backbone):
    """A frozen, prompted ViT that returns feature maps, without class token and prompts.

    By default it is one map, the last layer's. With ``join=levels`` there is a map for each layer,
    named ``<out_feature>.<block index>``.

    Args:
        vit, prompt, placement, frozen, activation_checkpointing, tuning: see `PromptedViT`.
        layers: block indexes whose patch tokens make the map, ascending, such as [2,5,8,11];
            ``quarters``: the last block of each quarter; None: the last block, without a norm.
        join: how several layers become one map: ``concat`` (and a 1x1 convolution), ``weights``
            (a learned mean), or ``levels``, one map for each. See `LayerJoin`.
        final_norm: whether the ViT's own final norm is applied to the layers that make the map, as
            DINO's authors do; frozen with the ViT. MAE's ViTDet leaves it out. The configs of
            `BACKBONES` choose as the authors do.
        neck_blocks: trained transformer blocks on the map before the pyramid.
        neck_window: side of their attention windows in patches; 0: global.
        out_feature: name of the returned map.

    Raises:
        InputError: layers, their join or the neck do not fit the ViT or each other, or there is no
            final norm to apply.
    """

    def __init__(
        self,
        vit: nn.Module,
        prompt: Prompt | None = None,
        placement: str | Sequence[int] = "shallow",
        *,
        frozen: bool = True,
        activation_checkpointing: bool = False,
        tuning: TuningMethod | None = None,
        layers: Sequence[int] | str | None = None,
        join: str = "concat",
        final_norm: bool = False,
        neck_blocks: int = 0,
        neck_window: int = 0,
        out_feature: str = "last_feat",
    ) -> None:
        super().__init__()
        self.prompted_vit = PromptedViT(
            vit,
            prompt,
            placement,
            frozen=frozen,
            activation_checkpointing=activation_checkpointing,
            tuning=tuning,
        )
        check_choice("join", join, JOINS)
        self.layers = resolve_layers(layers, len(self.prompted_vit.network.blocks))
        if layers is not None:
            self.prompted_vit.check_layers(self.layers)
        self.final_norm = final_norm
        if final_norm:
            _check_norm(self.prompted_vit.network.norm)
            self.prompted_vit.network.norm.requires_grad_(not frozen)
        self.neck = Neck(
            self.prompted_vit.network, len(self.layers), join, neck_blocks, neck_window
        )
        self.out_feature = out_feature
        self._out_features = [out_feature]
        if self.layers and join == "levels":
            self._out_features = [f"{out_feature}.{index}" for index in self.layers]
        self._out_feature_strides = dict.fromkeys(self._out_features, self.prompted_vit.patch_size)
        self._out_feature_channels = dict.fromkeys(self._out_features, self.prompted_vit.embed_dim)

    @property
    def size_divisibility(self) -> int:
        """Pixels that H and W must be a multiple of."""
        return self.prompted_vit.patch_size

    @property
    def checkpoint_settings(self) -> dict[str, bool | list[int]]:
        """What a checkpoint has to agree with and does not show in the shapes of its weights."""
        return {"final_norm": self.final_norm, **({"layers": self.layers} if self.layers else {})}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return ``{out_feature: (B, D, H/patch, W/patch)}`` of images (B, 3, H, W)."""
        vit = self.prompted_vit
        grid = vit.grid_size(*images.shape[-2:])
        tokens = vit.forward_layers(images, self.layers) if self.layers else [vit(images)]
        if self.final_norm:
            tokens = [vit.network.norm(layer) for layer in tokens]
        maps = self.neck(tokens, grid, checkpointing=vit.activation_checkpointing)
        return dict(zip(self._out_features, maps, strict=True))


def _check_norm(norm: nn.Module) -> None:
    if isinstance(norm, nn.Identity):
        raise InputError(
            "final_norm=True, but this ViT has no final norm; set it to False.",
            parameter="final_norm",
        )
