"""Detectron2 backbone around the prompted ViT."""

from collections.abc import Sequence

from detectron2.modeling.backbone import BACKBONE_REGISTRY, Backbone
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bpt_det.prompts import Prompt
from bpt_det.vit import PromptedViT


@BACKBONE_REGISTRY.register()
class PromptedViTBackbone(Backbone):
    """A frozen, prompted ViT that returns one feature map, without class token and prompts.

    Args:
        vit, prompt, placement, frozen, activation_checkpointing: see `PromptedViT`.
        out_feature: name of the returned map.
    """

    def __init__(
        self,
        vit: VisionTransformer,
        prompt: Prompt | None = None,
        placement: str | Sequence[int] = "shallow",
        *,
        frozen: bool = True,
        activation_checkpointing: bool = False,
        out_feature: str = "last_feat",
    ) -> None:
        super().__init__()
        self.prompted_vit = PromptedViT(
            vit,
            prompt,
            placement,
            frozen=frozen,
            activation_checkpointing=activation_checkpointing,
        )
        self.out_feature = out_feature
        self._out_features = [out_feature]
        self._out_feature_strides = {out_feature: self.prompted_vit.patch_size}
        self._out_feature_channels = {out_feature: self.prompted_vit.embed_dim}

    @property
    def size_divisibility(self) -> int:
        """Pixels that H and W must be a multiple of."""
        return self.prompted_vit.patch_size

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return ``{out_feature: (B, D, H/patch, W/patch)}`` of images (B, 3, H, W)."""
        height, width = self.prompted_vit.grid_size(*images.shape[-2:])
        patches = self.prompted_vit(images)
        return {self.out_feature: patches.transpose(1, 2).unflatten(2, (height, width))}
