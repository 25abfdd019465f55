"""VPT's recipe for the command line's `recipe=`: what its published training differs in.

The learning rate is for a batch of 256 images. VPT chooses it and the weight decay for each dataset
on its validation images, from 0.1 to 50 and from 0 to 0.01; these are the middle.

Source: KMnP/vpt@4410440, tune_fgvc.py, configs/base-prompt.yaml, src/data/transforms.py,
        src/solver/, src/models/mlp.py; prompt_dropout and the batch as in
        ryongithub/GatedPromptTuning@dd7d1ea run.sh and README.md. Dropout is off in VPT's demo of
        shallow prompts, model.backbone.prompt_dropout=0.
"""

from detectron2.config import LazyCall as L
from torch.optim import SGD

from bpt_det.engine import build_param_groups

_sgd = L(SGD)(
    params=L(build_param_groups)(  # the trainer adds the model
        base_lr="${..lr}",
        weight_decay_1d=0.0,
        head_weight_decay=None,  # as of the prompts
        layer_decay=None,
        prompt_lr_factor=None,
    ),
    lr=1.0,
    momentum=0.9,
    weight_decay=1e-3,
)

recipe_vpt = {
    "optimizer": _sgd,
    "train.reference_batch_size": 256,
    "lr_multiplier.final_lr": 0.0,
    "lr_multiplier.num_steps": "${train.epochs}",
    "dataloader.interpolation": "bilinear",
    "dataloader.train.mapper.crop": "random",
    "dataloader.train.total_batch_size": 64,
    "model.backbone.prompt_dropout": 0.1,
    "model.head_init": "kaiming",
}

# With MAE, for whose norm VPT has a new one; those of MoCo v3 and supervised pre-training stay.
recipe_vpt_mae = {"model.final_norm": "identity"}
