"""Stanford Cars, frozen MAE ViT-B, free prompts (VPT) in every block.

Run:    python tools/train_cls.py --config-file configs/fgvc/cars_vpt_d.py
Data:   Stanford Cars, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.prompts import free as _free
from .cars_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "all"
model.backbone.prompt = _free
model.backbone.prompt.prompt_length = 20
optimizer.weight_decay = 5e-3
train.output_dir = "output/fgvc/cars_vpt_d"
