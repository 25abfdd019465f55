"""ImageNet-1k, frozen MAE ViT-B, shallow bilinear prompts.

Run:    python tools/train_cls.py --config-file configs/imagenet/bpt_s.py --num-gpus 8
Data:   ImageNet-1k, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 72.15 top-1; ours: not measured yet
"""

from ..common.prompts import bilinear as _bilinear
from .linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _bilinear
model.backbone.prompt.rank = 25
train.output_dir = "output/imagenet/bpt_s"
