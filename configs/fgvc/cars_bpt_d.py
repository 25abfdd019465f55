"""Stanford Cars, frozen MAE ViT-B, bilinear prompts in the last 4 blocks.

Run:    python tools/train_cls.py --config-file configs/fgvc/cars_bpt_d.py
Data:   Stanford Cars, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 86.11 top-1; ours: not measured yet
"""

from ..common.prompts import bilinear as _bilinear
from .cars_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "last_4"
model.backbone.prompt = _bilinear
model.backbone.prompt.prompt_length = 50
model.backbone.prompt.rank = 50
optimizer.weight_decay = 5e-3
train.output_dir = "output/fgvc/cars_bpt_d"
