"""Optimizer of detectors: AdamW, no weight decay on norms, positions and class tokens."""

from detectron2.config import LazyCall as L
from torch.optim import AdamW

from bpt_det.engine import build_param_groups

optimizer = L(AdamW)(
    params=L(build_param_groups)(  # the trainer adds the model
        base_lr="${..lr}",
        weight_decay_norm=0.0,
        layer_decay=None,  # layer-wise decay of the learning rate in (0, 1], for full fine-tuning
        prompt_lr_factor=None,  # learning-rate multiplier of the prompts; None: 1
    ),
    lr=5e-4,
    betas=[0.9, 0.999],
    weight_decay=0.1,
    fused=True,  # one kernel for all parameters, the same step
)
