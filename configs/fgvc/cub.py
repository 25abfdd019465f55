"""Base: a linear head on a ViT-B, CUB-200-2011.

Run:    python tools/train_cls.py --config-file configs/fgvc/cub.py method=NAME \
            [pretraining=moco|supervised] [recipe=vpt|ours]
Data:   CUB-200-2011, laid out as in datasets/README.md; weights, see README.md
Result: docs/reproduction/published.md; ours: not measured yet
"""

from ..common.classification import data, dataloader, lr_multiplier, model, optimizer, train
from ..common.recipes_fgvc import recipes as _recipes

data.name = "cub"
model.num_classes = 200
choices = _recipes.cub
