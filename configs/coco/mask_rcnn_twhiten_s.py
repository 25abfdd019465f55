"""Mask R-CNN, frozen MAE ViT-B, shallow tunable-whitened prompts, COCO 2017.

Run:    python tools/train_net.py --config-file configs/coco/mask_rcnn_twhiten_s.py --num-gpus 8
Before: python tools/collect_statistics.py --config-file configs/coco/mask_rcnn_twhiten_s.py
Data:   COCO 2017, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published for COCO; ours: not measured yet
"""

from ..common.prompts import whitened as _whitened
from .mask_rcnn_frozen import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.prompt = _whitened
model.backbone.net.prompt.train_basis = True
train.prompt_statistics = "statistics/vit_b_whiten_s.safetensors"
train.output_dir = "output/coco/mask_rcnn_twhiten_s"
