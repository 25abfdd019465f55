"""The command line's `recipe=`, which the bases of classifiers share.

`recipe=ours` has what gained on every dataset and ViT tried: docs/reproduction/results.md.
"""

from .recipe_vpt import recipe_vpt as _vpt

recipes = {
    "recipe=bpt": {},  # the base as it is
    "recipe=vpt": _vpt,
    "recipe=ours method=bpt_s": {"optimizer.params.prompt_lr_factor": 10},
    "recipe=ours method=bpt_d": {
        "model.backbone.placement": "all",
        "dataloader.cache_prefix": False,  # no block without prompts goes before
    },
}
