"""ImageNet-1k, frozen MAE ViT-B, shallow free prompts (VPT).

Run:    python tools/train_cls.py --config-file configs/imagenet/vpt_s.py --num-gpus 8
Data:   ImageNet-1k, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 63.71 top-1; ours: not measured yet
"""

from ..common.prompts import free as _free
from .linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _free
train.output_dir = "output/imagenet/vpt_s"
