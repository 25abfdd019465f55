"""Base: Mask R-CNN on a MAE ViT-B, COCO 2017, 3x schedule.

Run:    python tools/train_net.py --config-file configs/coco/mask_rcnn.py --num-gpus 8 method=NAME
Data:   COCO 2017, laid out as in datasets/README.md; MAE weights, see docs/how_to/coco.md
Result: docs/reproduction/published.md; ours: not measured yet
"""

from ..common.models.mask_rcnn_vit_b import model
from .cascade import choices, data, dataloader, lr_multiplier, optimizer, train
