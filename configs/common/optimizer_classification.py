"""Optimizer of classifiers: AdamW; the head has its own weight decay, 1-D parameters none."""

from detectron2.config import LazyCall as L
from torch.optim import AdamW

from bpt_det.engine import build_param_groups

optimizer = L(AdamW)(
    params=L(build_param_groups)(  # the trainer adds the model
        base_lr="${..lr}",
        weight_decay_1d=0.0,
        head_weight_decay=0.5,
        layer_decay=None,  # layer-wise decay of the learning rate in (0, 1], for full fine-tuning
        prompt_lr_factor=None,  # learning-rate multiplier of the prompts; None: 1
    ),
    lr=5e-2,
    betas=[0.9, 0.999],
    weight_decay=5e-3,
    fused=True,  # one kernel for all parameters, the same step
)
