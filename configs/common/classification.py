"""Classification: a linear head on a frozen MAE ViT-B, CUB, 100 epochs."""

from .data.classification import data, dataloader
from .models.classifier_vit_b import model
from .optimizer_classification import optimizer
from .schedule_100_epochs import lr_multiplier, train
