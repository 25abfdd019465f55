"""A linear head on a frozen ViT-B; no prompts yet."""

from detectron2.config import LazyCall as L

from bpt_det.classification import PromptedClassifier
from bpt_det.vit import ARCHITECTURES, PromptedViT, build_vit

model = L(PromptedClassifier)(
    backbone=L(PromptedViT)(
        vit=L(build_vit)(
            **ARCHITECTURES["vit_b"],
            pretrain_size=224,
            pretrained_patch_size=None,  # where it is not patch_size, patches are resampled
            checkpoint="weights/mae_pretrain_vit_base.pth",
            architecture=None,  # timm's, of a file that is not MAE's
            drop_path_rate=0.0,
        ),
        prompt=None,
        placement="shallow",
        frozen=True,
        tuning=None,  # LoRA and others, beside prompts or without
        activation_checkpointing=False,  # True: less memory, more time
        prompt_dropout=0.0,
    ),
    num_classes=200,  # set from the dataset
    pooling="all",  # mean of prompts and patches; cls for MoCo v3 and supervised pre-training
    head_batch_norm=False,  # True: as MAE's linear probing, a batch norm before the head
    head_init="truncated_normal",  # VPT: kaiming
    final_norm="pretrained",  # VPT with MAE: identity
    pixel_mean=[123.675, 116.28, 103.53],  # ImageNet, RGB in [0, 255]
    pixel_std=[58.395, 57.12, 57.375],
    input_format="RGB",
)
