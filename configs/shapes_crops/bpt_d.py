"""Frozen micro ViT, bilinear prompts in the last 4 blocks, crops of shapes.

Run:    python tools/train_cls.py --config-file configs/shapes_crops/bpt_d.py
Data:   python -m bpt_det.shapes --crops --output datasets/shapes_crops
Result: see README.md
"""

from ..common.prompts import bilinear as _bilinear
from .linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "last_4"
model.backbone.prompt = _bilinear
model.backbone.prompt.prompt_length = 10
model.backbone.prompt.rank = 10
dataloader.cache_prefix = True  # without random crops, the first 2 blocks run once for each image
optimizer.lr = 1e-2  # the better of 1e-2 and 5e-2 on the validation crops, with random weights
train.output_dir = "output/shapes_crops/bpt_d"
