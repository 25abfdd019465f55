"""Pre-training as a masked autoencoder (MAE), as published: ViT-B, 1600 epochs, batch 4096.

Source: arXiv:2111.06377, Table 8, and facebookresearch/mae PRETRAIN.md.
"""

from detectron2.config import LazyCall as L
from torch.optim import AdamW

from bpt_det.classification import ClassificationMapper
from bpt_det.classification.in_memory_loader import build_train_loader
from bpt_det.engine import build_cosine_schedule, build_param_groups, TestLoader
from bpt_det.pretraining import MaskedAutoencoder, ReconstructionEvaluator, SaveEncoder, load_images
from bpt_det.vit import ARCHITECTURES, build_vit

from .train import train

model = L(MaskedAutoencoder)(
    encoder=L(build_vit)(
        **ARCHITECTURES["vit_b"], pretrain_size="${dataloader.image_size}", checkpoint=None
    ),
    decoder_embed_dim=512,
    decoder_num_blocks=8,
    decoder_num_heads=16,
    mask_ratio=0.75,
    normalize_targets=True,
    pixel_mean=[123.675, 116.28, 103.53],  # ImageNet, RGB in [0, 255]
    pixel_std=[58.395, 57.12, 57.375],
    input_format="RGB",
)

# Each a folder, a zip archive, or FILE.json:FOLDER; val=None holds out some of train.
# data=SOURCE on the command line is short for data.train=SOURCE.
data = dict(train="datasets/imagenet/train", val=None)

dataloader = dict(
    in_memory=False,  # decode training images once, keep them on train.device and crop them there
    image_size=224,  # pixels
    resize_size=256,  # pixels; shorter side before the center is cut out, to evaluate
    train=L(build_train_loader)(
        dataset=L(load_images)(train="${data.train}", val="${data.val}", split="train"),
        mapper=L(ClassificationMapper)(
            image_size="${dataloader.image_size}",
            resize_size="${dataloader.resize_size}",
            augment=True,  # random crop and flip
            min_area=0.2,
        ),
        total_batch_size=4096,
        num_workers=4,
        timeout=300,  # seconds to wait for a batch of the workers
        seed="${train.seed}",
        in_memory="${dataloader.in_memory}",
        device="${train.device}",
    ),
    test=L(TestLoader)(
        dataset=L(load_images)(train="${data.train}", val="${data.val}", split="val"),
        mapper=L(ClassificationMapper)(
            image_size="${dataloader.image_size}",
            resize_size="${dataloader.resize_size}",
            augment=False,
        ),
        batch_size=64,
        num_workers=4,
        timeout=300,  # seconds to wait for a batch of the workers
        in_memory="${dataloader.in_memory}",
    ),
    evaluator=L(ReconstructionEvaluator)(
        task="val", output_dir="${train.output_dir}", num_pictures=8
    ),
)

optimizer = L(AdamW)(
    params=L(build_param_groups)(base_lr="${..lr}", weight_decay_1d=0.0),  # the trainer adds model
    lr=1.5e-4,  # for a batch of 256 images, see train.reference_batch_size
    betas=[0.9, 0.95],
    weight_decay=0.05,
    fused=True,  # one kernel for all parameters, the same step
)

# Converted to iterations by the number of training images.
train.update(epochs=1600, eval_epochs=20, reference_batch_size=256)
train.best_metric, train.best_metric_mode = "val/loss", "min"
train.curves = ["val/loss"]
train.hooks = [L(SaveEncoder)(path="${train.output_dir}/encoder.pth", half=False)]

lr_multiplier = L(build_cosine_schedule)(
    max_iter="${train.max_iter}", warmup=40 / 1600, base_lr="${optimizer.lr}", final_lr=0.0
)
