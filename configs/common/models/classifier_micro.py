"""A linear head on a frozen micro ViT, for two CPU cores."""

from bpt_det.vit import ARCHITECTURES

from .classifier_vit_b import model

model.backbone.vit.update(
    **ARCHITECTURES["vit_micro"],
    pretrain_size=64,
    checkpoint="bpt_det:mae_micro_shapes.safetensors",
)
