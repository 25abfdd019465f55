"""Stanford Dogs, frozen MAE ViT-B, free prompts that start from tokens (SPT) in every block.

Run:    python tools/train_cls.py --config-file configs/fgvc/dogs_spt_d.py
Before: python tools/collect_statistics.py --config-file configs/fgvc/dogs_spt_d.py
Data:   Stanford Dogs, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 82.23 top-1; ours: not measured yet
"""

from ..common.prompts import free as _free
from .dogs_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "all"
model.backbone.prompt = _free
model.backbone.prompt.prompt_length = 20
model.backbone.prompt.init = "kmeans"
train.prompt_statistics = "statistics/dogs_vit_b_tokens_d.safetensors"
train.output_dir = "output/fgvc/dogs_spt_d"
