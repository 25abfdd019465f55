"""Stanford Cars, frozen MAE ViT-B, free prompts that start from tokens (SPT) in every block.

Run:    python tools/train_cls.py --config-file configs/fgvc/cars_spt_d.py
Before: python tools/collect_statistics.py --config-file configs/fgvc/cars_spt_d.py
Data:   Stanford Cars, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 84.61 top-1; ours: not measured yet
"""

from ..common.prompts import free as _free
from .cars_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "all"
model.backbone.prompt = _free
model.backbone.prompt.prompt_length = 20
model.backbone.prompt.init = "kmeans"
train.prompt_statistics = "statistics/cars_vit_b_tokens_d.safetensors"
optimizer.weight_decay = 5e-3
train.output_dir = "output/fgvc/cars_spt_d"
