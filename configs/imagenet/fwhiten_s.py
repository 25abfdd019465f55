"""ImageNet-1k, frozen MAE ViT-B, shallow fixed-whitened prompts.

Run:    python tools/train_cls.py --config-file configs/imagenet/fwhiten_s.py --num-gpus 8
Before: python tools/collect_statistics.py --config-file configs/imagenet/fwhiten_s.py
Data:   ImageNet-1k, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 72.09 top-1; ours: not measured yet
"""

from ..common.prompts import whitened as _whitened
from .linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _whitened
train.prompt_statistics = "statistics/imagenet_vit_b_whiten_s.safetensors"
train.output_dir = "output/imagenet/fwhiten_s"
