"""Pre-training of the micro ViT as a masked autoencoder on rendered shapes.

Run:    python tools/pretrain_mae.py --config-file configs/shapes/mae_micro.py
Data:   python -m bpt_det.shapes --output datasets/shapes_pretrain --num-train 20000 --seed 1
Result: bpt_det/pretrained/README.md, the weights that the other configs of shapes use
"""

from detectron2.config import LazyCall as L

from bpt_det.pretraining import SaveEncoder
from bpt_det.vit import ARCHITECTURES as _ARCHITECTURES

from ..common.pretraining import data, dataloader, lr_multiplier, model, optimizer, train

model.encoder.update(**_ARCHITECTURES["vit_micro"])
model.update(decoder_embed_dim=96, decoder_num_blocks=2, decoder_num_heads=3)

data.train = "datasets/shapes_pretrain/train"
# Crops of half the side: a quarter of the tokens, so four times the images in the same time.
dataloader.image_size = dataloader.resize_size = 64
dataloader.in_memory = True  # 0.8 GB
dataloader.train.mapper.min_area = 0.1
dataloader.train.total_batch_size = 512
dataloader.train.num_workers = dataloader.test.num_workers = 1

optimizer.lr = 1e-3  # 2e-3 at this batch
train.epochs, train.eval_epochs, train.log_period = 100, 20, 50
lr_multiplier.warmup = 0.05
train.hooks.append(
    L(SaveEncoder)(
        path="${train.output_dir}/encoder.safetensors",
        half=True,
        center_on="${dataloader.test}",  # as tokens of a frozen ViT heads learn from them sooner
    )
)
train.output_dir = "output/shapes/mae_micro"
