"""Mask R-CNN, frozen MAE ViT-B, free prompts from tokens in every block (SPT), COCO 2017.

Run:    python tools/train_net.py --config-file configs/coco/mask_rcnn_spt_d.py --num-gpus 8
Before: python tools/collect_statistics.py --config-file configs/coco/mask_rcnn_spt_d.py
Data:   COCO 2017, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 37.85 box AP, 34.71 mask AP; ours: not measured yet
"""

from ..common.prompts import free as _free
from .mask_rcnn_frozen import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.placement = "all"
model.backbone.net.prompt = _free
model.backbone.net.prompt.prompt_length = 20
model.backbone.net.prompt.init = "kmeans"
train.prompt_statistics = "statistics/vit_b_tokens_d.safetensors"
train.output_dir = "output/coco/mask_rcnn_spt_d"
