"""Mask R-CNN on a frozen ViT-B with a simple feature pyramid: one box head, no cascade."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.roi_heads import FastRCNNOutputLayers, StandardROIHeads

from .cascade_mask_rcnn_vit_b import model

model.roi_heads._target_ = StandardROIHeads
model.roi_heads.box_head = model.roi_heads.pop("box_heads")[0]
model.roi_heads.pop("box_predictors")
model.roi_heads.box_predictor = L(FastRCNNOutputLayers)(
    input_shape=L(ShapeSpec)(channels=1024),
    test_score_thresh=0.05,
    box2box_transform=L(Box2BoxTransform)(weights=[10, 10, 5, 5]),
    num_classes="${..num_classes}",
)
model.roi_heads.pop("proposal_matchers")
model.roi_heads.proposal_matcher = L(Matcher)(
    thresholds=[0.5], labels=[0, 1], allow_low_quality_matches=False
)
