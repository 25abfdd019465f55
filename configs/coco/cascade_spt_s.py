"""Cascade Mask R-CNN, frozen MAE ViT-B, shallow free prompts from tokens (SPT), COCO 2017.

Run:    python tools/train_net.py --config-file configs/coco/cascade_spt_s.py --num-gpus 8
Before: python tools/collect_statistics.py --config-file configs/coco/cascade_spt_s.py
Data:   COCO 2017, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 39.63 box AP, 36.78 mask AP; ours: not measured yet
"""

from ..common.prompts import free as _free
from .cascade_frozen import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.prompt = _free
model.backbone.net.prompt.init = "kmeans"
train.prompt_statistics = "statistics/vit_b_tokens_s.safetensors"
train.output_dir = "output/coco/cascade_spt_s"
