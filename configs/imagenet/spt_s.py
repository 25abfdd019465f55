"""ImageNet-1k, frozen MAE ViT-B, shallow free prompts that start from tokens (SPT).

Run:    python tools/train_cls.py --config-file configs/imagenet/spt_s.py --num-gpus 8
Before: python tools/collect_statistics.py --config-file configs/imagenet/spt_s.py
Data:   ImageNet-1k, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 69.98 top-1; ours: not measured yet
"""

from ..common.prompts import free as _free
from .linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _free
model.backbone.prompt.init = "kmeans"
train.prompt_statistics = "statistics/imagenet_vit_b_tokens_s.safetensors"
train.output_dir = "output/imagenet/spt_s"
