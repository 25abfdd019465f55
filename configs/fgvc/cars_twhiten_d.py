"""Stanford Cars, frozen MAE ViT-B, trained-whitened prompts in the last 4 blocks.

Run:    python tools/train_cls.py --config-file configs/fgvc/cars_twhiten_d.py
Before: python tools/collect_statistics.py --config-file configs/fgvc/cars_twhiten_d.py
Data:   Stanford Cars, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.prompts import whitened as _whitened
from .cars_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "last_4"
model.backbone.prompt = _whitened
model.backbone.prompt.prompt_length = 50
model.backbone.prompt.train_basis = True
train.prompt_statistics = "statistics/cars_vit_b_whiten_d.safetensors"
optimizer.weight_decay = 5e-3
train.output_dir = "output/fgvc/cars_twhiten_d"
