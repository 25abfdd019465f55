"""Cascade Mask R-CNN on a frozen ViT-B with a simple feature pyramid; no prompts yet.

The heads are those of ViTDet: 2 hidden convolutions in the RPN, 4 with LayerNorm in the RoI heads.
"""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import (
    CascadeROIHeads,
    FastRCNNConvFCHead,
    FastRCNNOutputLayers,
    MaskRCNNConvUpsampleHead,
)

from bpt_det.detection import (
    EmbeddingBagROIPooler,
    LayerNorm2d,
    PromptedViTBackbone,
    SimpleFeaturePyramid,
)
from bpt_det.vit import ARCHITECTURES, build_vit

model = L(GeneralizedRCNN)(
    backbone=L(SimpleFeaturePyramid)(
        net=L(PromptedViTBackbone)(
            vit=L(build_vit)(
                **ARCHITECTURES["vit_b"],
                pretrain_size=224,
                pretrained_patch_size=None,  # where it is not patch_size, patches are resampled
                checkpoint="weights/mae_pretrain_vit_base.pth",
                architecture=None,  # timm's, of a file that is not MAE's; vit=NAME sets it
                drop_path_rate=0.0,
            ),
            prompt=None,
            placement="shallow",
            frozen=True,
            tuning=None,  # LoRA and others, beside prompts or without
            activation_checkpointing=False,  # True: less memory, more time
            layers=None,  # [2,5,8,11] or quarters: several layers make the map, not the last alone
            join="concat",  # of several layers: concat, weights, or levels (one for each level)
            final_norm=False,  # True for DINO: its own final norm on what makes the map
            neck_blocks=0,  # trained transformer blocks on the map before the pyramid
            neck_window=0,  # side of their attention windows in patches; 0: global
            out_feature="last_feat",
        ),
        in_feature="${.net.out_feature}",
        out_channels=256,
        scale_factors=[4.0, 2.0, 1.0, 0.5],
        top_block=L(LastLevelMaxPool)(),
        square_pad="${dataloader.image_size}",
    ),
    proposal_generator=L(RPN)(
        in_features=["p2", "p3", "p4", "p5", "p6"],
        head=L(StandardRPNHead)(
            in_channels="${model.backbone.out_channels}", num_anchors=3, conv_dims=[-1, -1]
        ),
        anchor_generator=L(DefaultAnchorGenerator)(
            sizes=[[32], [64], [128], [256], [512]],
            aspect_ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
            offset=0.0,
        ),
        anchor_matcher=L(Matcher)(
            thresholds=[0.3, 0.7], labels=[0, -1, 1], allow_low_quality_matches=True
        ),
        box2box_transform=L(Box2BoxTransform)(weights=[1.0, 1.0, 1.0, 1.0]),
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_topk=[2000, 1000],  # train, test
        post_nms_topk=[1000, 1000],
        nms_thresh=0.7,
    ),
    roi_heads=L(CascadeROIHeads)(
        num_classes=80,
        batch_size_per_image=512,
        positive_fraction=0.25,
        box_in_features=["p2", "p3", "p4", "p5"],
        box_pooler=L(EmbeddingBagROIPooler)(
            output_size=7,
            scales=[1 / 4, 1 / 8, 1 / 16, 1 / 32],
            sampling_ratio=0,
            pooler_type="ROIAlignV2",
        ),
        box_heads=[
            L(FastRCNNConvFCHead)(
                input_shape=L(ShapeSpec)(
                    channels="${model.backbone.out_channels}", height=7, width=7
                ),
                conv_dims=[256, 256, 256, 256],
                fc_dims=[1024],
                conv_norm=LayerNorm2d,
            )
            for _ in range(3)
        ],
        box_predictors=[
            L(FastRCNNOutputLayers)(
                input_shape=L(ShapeSpec)(channels=1024),
                test_score_thresh=0.05,
                box2box_transform=L(Box2BoxTransform)(weights=[xy, xy, wh, wh]),
                cls_agnostic_bbox_reg=True,
                num_classes="${...num_classes}",
            )
            for xy, wh in [(10, 5), (20, 10), (30, 15)]
        ],
        proposal_matchers=[
            L(Matcher)(thresholds=[iou], labels=[0, 1], allow_low_quality_matches=False)
            for iou in [0.5, 0.6, 0.7]
        ],
        mask_in_features="${.box_in_features}",
        mask_pooler=L(EmbeddingBagROIPooler)(
            output_size=14,
            scales="${..box_pooler.scales}",
            sampling_ratio=0,
            pooler_type="ROIAlignV2",
        ),
        mask_head=L(MaskRCNNConvUpsampleHead)(
            input_shape=L(ShapeSpec)(
                channels="${model.backbone.out_channels}", height=14, width=14
            ),
            num_classes="${..num_classes}",
            conv_dims=[256, 256, 256, 256, 256],  # 4 hidden, then the deconvolution
            conv_norm=LayerNorm2d,
        ),
    ),
    pixel_mean=[123.675, 116.28, 103.53],  # ImageNet, RGB in [0, 255]
    pixel_std=[58.395, 57.12, 57.375],
    input_format="RGB",
)
