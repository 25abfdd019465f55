"""Stanford Cars, frozen MAE ViT-B, shallow trained-whitened prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/cars_twhiten_s.py
Before: python tools/collect_statistics.py --config-file configs/fgvc/cars_twhiten_s.py
Data:   Stanford Cars, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.prompts import whitened as _whitened
from .cars_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _whitened
model.backbone.prompt.train_basis = True
train.prompt_statistics = "statistics/cars_vit_b_whiten_s.safetensors"
train.output_dir = "output/fgvc/cars_twhiten_s"
