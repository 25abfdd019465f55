"""Stanford Dogs, frozen MAE ViT-B, free prompts (VPT) in every block.

Run:    python tools/train_cls.py --config-file configs/fgvc/dogs_vpt_d.py
Data:   Stanford Dogs, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.prompts import free as _free
from .dogs_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "all"
model.backbone.prompt = _free
model.backbone.prompt.prompt_length = 20
train.output_dir = "output/fgvc/dogs_vpt_d"
