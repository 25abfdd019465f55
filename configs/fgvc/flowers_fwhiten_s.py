"""Oxford Flowers 102, frozen MAE ViT-B, shallow fixed-whitened prompts.

Run:    python tools/train_cls.py --config-file configs/fgvc/flowers_fwhiten_s.py
Before: python tools/collect_statistics.py --config-file configs/fgvc/flowers_fwhiten_s.py
Data:   Oxford Flowers 102, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.prompts import whitened as _whitened
from .flowers_linear import data, dataloader, lr_multiplier, model, optimizer, train

model.backbone.prompt = _whitened
train.prompt_statistics = "statistics/flowers_vit_b_whiten_s.safetensors"
train.output_dir = "output/fgvc/flowers_fwhiten_s"
