"""Base: a linear head on a ViT-B, Oxford Flowers 102.

Run:    python tools/train_cls.py --config-file configs/fgvc/flowers.py method=NAME \
            [pretraining=moco|supervised] [recipe=vpt|ours]
Data:   Oxford Flowers 102, laid out as in datasets/README.md; weights, see README.md
Result: docs/reproduction/published.md; ours: not measured yet
"""

from ..common.classification import data, dataloader, lr_multiplier, model, optimizer, train
from ..common.recipes_fgvc import recipes as _recipes

data.name = "flowers"
model.num_classes = 102
choices = _recipes.flowers
