"""Oxford Flowers 102, frozen MAE ViT-B, free prompts (VPT) in every block.

Run:    python tools/train_cls.py --config-file configs/fgvc/flowers_vpt_d.py
Data:   Oxford Flowers 102, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.prompts import free as _free
from .flowers_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "all"
model.backbone.prompt = _free
model.backbone.prompt.prompt_length = 20
train.output_dir = "output/fgvc/flowers_vpt_d"
