"""Stanford Cars, frozen MAE ViT-B, shallow free prompts that start from tokens (SPT).

Run:    python tools/train_cls.py --config-file configs/fgvc/cars_spt_s.py
Before: python tools/collect_statistics.py --config-file configs/fgvc/cars_spt_s.py
Data:   Stanford Cars, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 67.23 top-1; ours: not measured yet
"""

from ..common.prompts import free as _free
from .cars_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _free
model.backbone.prompt.init = "kmeans"
train.prompt_statistics = "statistics/cars_vit_b_tokens_s.safetensors"
train.output_dir = "output/fgvc/cars_spt_s"
