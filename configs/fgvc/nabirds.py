"""Base: a linear head on a ViT-B, NABirds.

Run:    python tools/train_cls.py --config-file configs/fgvc/nabirds.py method=NAME \
            [pretraining=moco|supervised] [recipe=vpt|ours]
Data:   NABirds, laid out as in datasets/README.md; weights, see README.md
Result: docs/reproduction/published.md; ours: not measured yet
"""

from ..common.classification import data, dataloader, lr_multiplier, model, optimizer, train
from ..common.recipes_fgvc import recipes as _recipes

data.name = "nabirds"
model.num_classes = 555
choices = _recipes.nabirds
