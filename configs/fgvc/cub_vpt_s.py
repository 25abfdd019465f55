"""CUB-200-2011, frozen MAE ViT-B, shallow free prompts (VPT).

Run:    python tools/train_cls.py --config-file configs/fgvc/cub_vpt_s.py
Data:   CUB-200-2011, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 42.15 top-1; ours: not measured yet
"""

from ..common.prompts import free as _free
from .cub_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _free
train.output_dir = "output/fgvc/cub_vpt_s"
