"""Oxford Flowers 102, frozen MAE ViT-B, shallow free prompts (VPT).

Run:    python tools/train_cls.py --config-file configs/fgvc/flowers_vpt_s.py
Data:   Oxford Flowers 102, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 69.15 top-1; ours: not measured yet
"""

from ..common.prompts import free as _free
from .flowers_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _free
train.output_dir = "output/fgvc/flowers_vpt_s"
