"""NABirds, frozen MAE ViT-B, bilinear prompts in the last 4 blocks.

Run:    python tools/train_cls.py --config-file configs/fgvc/nabirds_bpt_d.py
Data:   NABirds, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 78.49 top-1; ours: not measured yet
"""

from ..common.prompts import bilinear as _bilinear
from .nabirds_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "last_4"
model.backbone.prompt = _bilinear
model.backbone.prompt.prompt_length = 50
model.backbone.prompt.rank = 50
optimizer.params.head_weight_decay = 0.3
train.output_dir = "output/fgvc/nabirds_bpt_d"
