"""Frozen micro ViT, shallow free prompts (VPT), crops of shapes.

Run:    python tools/train_cls.py --config-file configs/shapes_crops/vpt_s.py
Data:   python -m bpt_det.shapes --crops --output datasets/shapes_crops
Result: see README.md
"""

from ..common.prompts import free as _free
from .linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _free
model.backbone.prompt.prompt_length = 20
optimizer.lr = 5e-2  # the better of 1e-2 and 5e-2 on the validation crops
train.output_dir = "output/shapes_crops/vpt_s"
