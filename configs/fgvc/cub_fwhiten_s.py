"""CUB-200-2011, frozen MAE ViT-B, shallow fixed-whitened prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/cub_fwhiten_s.py
Before: python tools/collect_statistics.py --config-file configs/fgvc/cub_fwhiten_s.py
Data:   CUB-200-2011, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: published 77.48 top-1; ours: not measured yet
"""

from ..common.prompts import whitened as _whitened
from .cub_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _whitened
train.prompt_statistics = "statistics/cub_vit_b_whiten_s.safetensors"
train.output_dir = "output/fgvc/cub_fwhiten_s"
