"""Oxford Flowers 102, frozen MAE ViT-B, shallow free prompts that start from tokens (SPT).

Run:    python tools/train_cls.py --config-file configs/fgvc/flowers_spt_s.py
Before: python tools/collect_statistics.py --config-file configs/fgvc/flowers_spt_s.py
Data:   Oxford Flowers 102, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 89.47 top-1; ours: not measured yet
"""

from ..common.prompts import free as _free
from .flowers_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _free
model.backbone.prompt.init = "kmeans"
train.prompt_statistics = "statistics/flowers_vit_b_tokens_s.safetensors"
train.output_dir = "output/fgvc/flowers_spt_s"
