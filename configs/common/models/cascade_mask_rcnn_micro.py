"""Cascade Mask R-CNN on a micro ViT with slim heads and levels p2 to p5, for two CPU cores."""

from bpt_det.vit import ARCHITECTURES

from .cascade_mask_rcnn_vit_b import model

model.backbone.net.vit.update(
    **ARCHITECTURES["vit_micro"],
    pretrain_size=64,
    checkpoint="bpt_det:mae_micro_shapes.safetensors",
)
model.backbone.out_channels = 64
model.backbone.scale_factors = [2.0, 1.0, 0.5]  # strides 4, 8, 16 from patches of 8; p5 on top

levels = ["p2", "p3", "p4", "p5"]
model.proposal_generator.in_features = levels
model.proposal_generator.anchor_generator.sizes = [[12], [24], [48], [96]]
model.proposal_generator.anchor_generator.strides = [4, 8, 16, 32]
model.proposal_generator.batch_size_per_image = 128
model.proposal_generator.pre_nms_topk = [500, 300]
model.proposal_generator.post_nms_topk = [300, 150]

model.roi_heads.batch_size_per_image = 32
model.roi_heads.box_in_features = ["p2", "p3", "p4"]
model.roi_heads.box_pooler.scales = [1 / 4, 1 / 8, 1 / 16]
for box_head in model.roi_heads.box_heads:
    box_head.conv_dims = [64]
    box_head.fc_dims = [128]
for box_predictor in model.roi_heads.box_predictors:
    box_predictor.input_shape.channels = 128
model.roi_heads.mask_head.conv_dims = [64, 64, 64]
