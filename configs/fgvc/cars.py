"""Base: a linear head on a ViT-B, Stanford Cars.

Run:    python tools/train_cls.py --config-file configs/fgvc/cars.py method=NAME \
            [pretraining=supervised] [recipe=vpt|ours]
Data:   Stanford Cars, laid out as in datasets/README.md; weights, see README.md
Result: docs/reproduction/published.md; ours: not measured yet
"""

from ..common.classification import data, dataloader, lr_multiplier, model, optimizer, train
from ..common.recipes_fgvc import recipes as _recipes

data.name = "cars"
model.num_classes = 196
choices = _recipes.cars
