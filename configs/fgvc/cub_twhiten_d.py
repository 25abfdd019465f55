"""CUB-200-2011, frozen MAE ViT-B, trained-whitened prompts in the last 4 blocks.

Run:    python tools/train_cls.py --config-file configs/fgvc/cub_twhiten_d.py
Before: python tools/collect_statistics.py --config-file configs/fgvc/cub_twhiten_d.py
Data:   CUB-200-2011, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.prompts import whitened as _whitened
from .cub_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "last_4"
model.backbone.prompt = _whitened
model.backbone.prompt.prompt_length = 50
model.backbone.prompt.train_basis = True
train.prompt_statistics = "statistics/cub_vit_b_whiten_d.safetensors"
train.output_dir = "output/fgvc/cub_twhiten_d"
