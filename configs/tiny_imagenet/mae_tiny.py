"""Pre-training of a ViT-Tiny with patches of 8 on photographs of 64 pixels.

Run:    python tools/pretrain_mae.py --config-file configs/tiny_imagenet/mae_tiny.py \
            data=FOLDER_OR_ZIP_OF_IMAGES
Data:   20,000 photographs of Tiny ImageNet (non-commercial terms: its weights are not published)
Result: loss 0.629 on 400 held-out photographs; 2.1 minutes on an H200 that a second run shared
"""

from bpt_det.vit import ARCHITECTURES as _ARCHITECTURES

from ..common.pretraining import data, dataloader, lr_multiplier, model, optimizer, train

model.encoder.update(**_ARCHITECTURES["vit_tiny"])
model.encoder.patch_size = 8
model.update(decoder_embed_dim=128, decoder_num_blocks=2, decoder_num_heads=4)

data.train = "datasets/tiny_imagenet_64.zip"
dataloader.image_size = dataloader.resize_size = 64
dataloader.in_memory = True  # 0.25 GB
dataloader.train.total_batch_size = 1024
dataloader.train.num_workers, dataloader.test.num_workers = 8, 1

optimizer.lr = 6e-4  # 2.4e-3 at this batch
train.epochs, train.eval_epochs, train.log_period = 145, 29, 50
lr_multiplier.warmup = 0.05
train.output_dir = "output/tiny_imagenet/mae_tiny"
