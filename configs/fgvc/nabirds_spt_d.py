"""NABirds, frozen MAE ViT-B, free prompts that start from tokens (SPT) in every block.

Run:    python tools/train_cls.py --config-file configs/fgvc/nabirds_spt_d.py
Before: python tools/collect_statistics.py --config-file configs/fgvc/nabirds_spt_d.py
Data:   NABirds, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 76.28 top-1; ours: not measured yet
"""

from ..common.prompts import free as _free
from .nabirds_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "all"
model.backbone.prompt = _free
model.backbone.prompt.prompt_length = 20
model.backbone.prompt.init = "kmeans"
train.prompt_statistics = "statistics/nabirds_vit_b_tokens_d.safetensors"
optimizer.params.head_weight_decay = 0.3
train.output_dir = "output/fgvc/nabirds_spt_d"
