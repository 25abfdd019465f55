"""NABirds, frozen MAE ViT-B, shallow free prompts (VPT).

Run:    python tools/train_cls.py --config-file configs/fgvc/nabirds_vpt_s.py
Data:   NABirds, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 57.43 top-1; ours: not measured yet
"""

from ..common.prompts import free as _free
from .nabirds_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _free
train.output_dir = "output/fgvc/nabirds_vpt_s"
