"""Stanford Cars, frozen MAE ViT-B, shallow bilinear prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/cars_bpt_s.py
Data:   Stanford Cars, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 79.77 top-1; ours: not measured yet
"""

from ..common.prompts import bilinear as _bilinear
from .cars_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _bilinear
model.backbone.prompt.rank = 75
train.output_dir = "output/fgvc/cars_bpt_s"
