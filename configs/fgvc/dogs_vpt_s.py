"""Stanford Dogs, frozen MAE ViT-B, shallow free prompts (VPT).

Run:    python tools/train_cls.py --config-file configs/fgvc/dogs_vpt_s.py
Data:   Stanford Dogs, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 77.07 top-1; ours: not measured yet
"""

from ..common.prompts import free as _free
from .dogs_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _free
train.output_dir = "output/fgvc/dogs_vpt_s"
