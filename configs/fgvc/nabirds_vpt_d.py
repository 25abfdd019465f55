"""NABirds, frozen MAE ViT-B, free prompts (VPT) in every block.

Run:    python tools/train_cls.py --config-file configs/fgvc/nabirds_vpt_d.py
Data:   NABirds, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.prompts import free as _free
from .nabirds_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "all"
model.backbone.prompt = _free
model.backbone.prompt.prompt_length = 20
optimizer.params.head_weight_decay = 0.3
train.output_dir = "output/fgvc/nabirds_vpt_d"
