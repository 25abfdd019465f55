"""Frozen micro ViT, shallow bilinear prompts, crops of shapes.

Run:    make demo-cls, or python tools/train_cls.py --config-file configs/shapes_crops/bpt_s.py
Data:   python -m bpt_det.shapes --crops --output datasets/shapes_crops
Result: see README.md
"""

from ..common.prompts import bilinear as _bilinear
from .linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _bilinear
model.backbone.prompt.prompt_length = 20
model.backbone.prompt.rank = 10
optimizer.lr = 1.5e-1  # the best of 1e-2, 5e-2 and 1.5e-1 on the validation crops
train.output_dir = "output/shapes_crops/bpt_s"
