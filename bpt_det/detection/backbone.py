"""The prompted ViT as a Detectron2 backbone."""

from collections.abc import Sequence

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone import BACKBONE_REGISTRY, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from bpt_det.vit import PromptedViT

from .feature_pyramid import SimpleFeaturePyramid
from .yacs import prompt_from_config, vit_from_config


@BACKBONE_REGISTRY.register()
class PromptedViTBackbone(Backbone):
    """A frozen, prompted ViT that returns one feature map; class token and prompts are dropped.

    Args:
        vit, prompt, placement, frozen, activation_checkpointing: see `PromptedViT`.
        out_feature: name of the returned map.
    """

    @configurable
    def __init__(
        self,
        vit: VisionTransformer,
        prompt: nn.Module | None = None,
        placement: str | Sequence[int] = "shallow",
        *,
        frozen: bool = True,
        activation_checkpointing: bool = False,
        out_feature: str = "last_feat",
    ) -> None:
        super().__init__()
        self.prompted_vit = PromptedViT(
            *(vit, prompt, placement),
            frozen=frozen,
            activation_checkpointing=activation_checkpointing,
        )
        self.out_feature = out_feature
        self._out_features = [out_feature]
        self._out_feature_strides = {out_feature: self.prompted_vit.patch_size}
        self._out_feature_channels = {out_feature: self.prompted_vit.embed_dim}

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec | None = None) -> dict:
        """Read the arguments from a yacs config that `add_bpt_config` has extended."""
        vit = vit_from_config(cfg)
        return {
            "vit": vit,
            "prompt": prompt_from_config(cfg, vit),
            "placement": cfg.MODEL.BPT.PLACEMENT,
        }

    @property
    def size_divisibility(self) -> int:
        """Pixels that H and W must be a multiple of."""
        return self.prompted_vit.patch_size

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return ``{out_feature: (B, D, H/patch, W/patch)}`` of images (B, 3, H, W)."""
        height, width = self.prompted_vit.grid_size(*images.shape[-2:])
        patches = self.prompted_vit(images)
        return {self.out_feature: patches.transpose(1, 2).unflatten(2, (height, width))}


@BACKBONE_REGISTRY.register()
def build_prompted_vit_pyramid(cfg: CfgNode, input_shape: ShapeSpec) -> SimpleFeaturePyramid:
    """Build the prompted ViT under its simple feature pyramid from a yacs config."""
    net = PromptedViTBackbone(cfg, input_shape)
    return SimpleFeaturePyramid(
        net=net,
        in_feature=net.out_feature,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        scale_factors=cfg.MODEL.BPT.SCALE_FACTORS,
        top_block=LastLevelMaxPool(),
        square_pad=cfg.MODEL.BPT.SQUARE_PAD,
    )
