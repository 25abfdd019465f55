"""Cascade Mask R-CNN, frozen MAE ViT-B, deep bilinear prompts, COCO 2017, 3x schedule.

Run:    python tools/train_net.py --config-file configs/coco/cascade_bpt_d.py --num-gpus 8
Data:   COCO 2017, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 44.97 box AP, 39.69 mask AP; ours: not measured yet
"""

from .cascade_bpt_s import dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.placement = "last_4"
model.backbone.net.prompt.prompt_length = 50
model.backbone.net.prompt.rank = 50
train.output_dir = "output/coco/cascade_bpt_d"
