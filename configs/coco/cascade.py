"""Base: Cascade Mask R-CNN on a MAE ViT-B, COCO 2017, 3x schedule.

Run:    python tools/train_net.py --config-file configs/coco/cascade.py --num-gpus 8 \
            method=NAME [vit=vit_l|vit_h|dinov3_b|...]
Data:   COCO 2017, laid out as in datasets/README.md; MAE weights, see docs/how_to/coco.md; or a
        backbone of docs/reference/backbones.md
Result: docs/reproduction/published.md; ours: not measured yet
"""

from ..common.data.coco_lsj import data, dataloader
from ..common.models.cascade_mask_rcnn_vit_b import model
from ..common.optimizer import optimizer
from ..common.schedule_3x import lr_multiplier, train
from ..common.vits import of_detectors as _of_detectors, vit_h as _vit_h, vit_l as _vit_l

# Patches of 14 pixels, resampled to 16, as ViTDet-H does.
_vit_h.update(pretrained_patch_size=14, patch_size=16)

choices = {
    "vit=vit_b": {},
    "vit=vit_l": {"model.backbone.net.vit": _vit_l},
    "vit=vit_h": {"model.backbone.net.vit": _vit_h},
    **_of_detectors,
    "method=full": {"optimizer.lr": 1e-4, "optimizer.params.layer_decay": 0.7},  # as ViTDet-B
}
