"""Pre-training of the micro ViT on photographs of 64 pixels, for two CPU cores.

Run:    python tools/pretrain_mae.py --config-file configs/tiny_imagenet/mae_micro.py \
            data=FOLDER_OR_ZIP_OF_IMAGES
Data:   20,000 photographs of Tiny ImageNet (non-commercial terms: its weights are not published)
Result: not measured yet
"""

from bpt_det.vit import ARCHITECTURES as _ARCHITECTURES

from .mae_tiny import data, dataloader, lr_multiplier, model, optimizer, train

model.encoder.update(**_ARCHITECTURES["vit_micro"])
model.update(decoder_embed_dim=96, decoder_num_blocks=2, decoder_num_heads=3)

dataloader.in_memory = False
dataloader.train.total_batch_size = 128
dataloader.train.num_workers = 1

optimizer.lr = 2.4e-3  # 1.2e-3 at this batch
train.epochs, train.eval_epochs = 40, 2
train.output_dir = "output/tiny_imagenet/mae_micro"
