"""Oxford Flowers 102, frozen MAE ViT-B, shallow bilinear prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/flowers_bpt_s.py
Data:   Oxford Flowers 102, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 90.37 top-1; ours: not measured yet
"""

from ..common.prompts import bilinear as _bilinear
from .flowers_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _bilinear
model.backbone.prompt.rank = 75
train.output_dir = "output/fgvc/flowers_bpt_s"
