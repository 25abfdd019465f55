"""Cascade Mask R-CNN, frozen micro ViT, bilinear prompts in the last 4 blocks, shapes.

Run:    python tools/train_net.py --config-file configs/shapes/cascade_bpt_d.py
Data:   python -m bpt_det.shapes --output datasets/shapes
Result: see README.md
"""

from ..common.prompts import bilinear as _bilinear
from .cascade_frozen import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.net.placement = "last_4"
model.backbone.net.prompt = _bilinear
model.backbone.net.prompt.prompt_length = 10
model.backbone.net.prompt.rank = 10
train.output_dir = "output/shapes/cascade_bpt_d"
