"""Stanford Dogs, frozen MAE ViT-B, fixed-whitened prompts in the last 4 blocks.

Run:    python tools/train_cls.py --config-file configs/fgvc/dogs_fwhiten_d.py
Before: python tools/collect_statistics.py --config-file configs/fgvc/dogs_fwhiten_d.py
Data:   Stanford Dogs, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.prompts import whitened as _whitened
from .dogs_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.placement = "last_4"
model.backbone.prompt = _whitened
model.backbone.prompt.prompt_length = 50
train.prompt_statistics = "statistics/dogs_vit_b_whiten_d.safetensors"
train.output_dir = "output/fgvc/dogs_fwhiten_d"
