"""Base: a linear head on a ViT-B, Stanford Dogs.

Run:    python tools/train_cls.py --config-file configs/fgvc/dogs.py method=NAME \
            [pretraining=moco|supervised] [recipe=vpt|ours]
Data:   Stanford Dogs, laid out as in datasets/README.md; weights, see README.md
Result: docs/reproduction/published.md; ours: not measured yet
"""

from ..common.classification import data, dataloader, lr_multiplier, model, optimizer, train
from ..common.recipes_fgvc import recipes as _recipes

data.name = "dogs"
model.num_classes = 120
choices = _recipes.dogs
