"""ImageNet-1k, a linear head on a frozen MAE ViT-B, no prompts; recipe of shallow prompts.

Run:    python tools/train_cls.py --config-file configs/imagenet/linear.py --num-gpus 8
Data:   ImageNet-1k, laid out as in datasets/README.md; MAE ViT-B weights, see README.md
Result: not published; ours: not measured yet
"""

from ..common.classification import data, dataloader, lr_multiplier, model, optimizer, train

data.name = "imagenet"
model.num_classes = 1000
dataloader.train.total_batch_size = 1024
optimizer.lr = 0.1
optimizer.weight_decay = 0.01  # Table 8; the published script has 1e-3
optimizer.params.head_weight_decay = 1e-2
train.output_dir = "output/imagenet/linear"
