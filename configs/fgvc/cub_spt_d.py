"""CUB-200-2011, frozen MAE ViT-B, free prompts that start from tokens (SPT) in every block.

Run:    python tools/train_cls.py --config-file configs/fgvc/cub_spt_d.py
Before: python tools/collect_statistics.py --config-file configs/fgvc/cub_spt_d.py
Data:   CUB-200-2011, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 80.13 top-1; ours: not measured yet
"""

from ..common.prompts import free as _free
from .cub_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "all"
model.backbone.prompt = _free
model.backbone.prompt.prompt_length = 20
model.backbone.prompt.init = "kmeans"
train.prompt_statistics = "statistics/cub_vit_b_tokens_d.safetensors"
train.output_dir = "output/fgvc/cub_spt_d"
