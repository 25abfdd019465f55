"""Rank and length of shallow bilinear prompts, and the floor of the whitening: CUB, ViT-Tiny.

Run:    python tools/compare.py --plan configs/compare/cub_sizes.py --jobs 14
Data:   CUB-200-2011, laid out as in datasets/README.md
Result: docs/reproduction/results.md
"""

from .cub_30_epochs import plan

_LENGTH, _RANK = "model.backbone.prompt.prompt_length", "model.backbone.prompt.rank"
_EPS = "model.backbone.prompt.whitening.eps"

plan.name = "cub_sizes"
plan.title = "CUB-200-2011, rank and length of BPT-S, floor of the whitening"
plan.about = (
    "As above, at one rate and decay. Ranks of 5, 10, 25, 50, 75 and 100 % of 20 prompts. Then 10 "
    "and 40 prompts at a rank of 75 %. Then fWhiten-S with 20 prompts at three floors "
    "eps, relative to the largest eigenvalue."
)
plan.grid = {"optimizer.lr": [4e-2], "optimizer.params.head_weight_decay": [0.01]}
plan.methods = {
    f"p{length}_r{rank}": dict(
        label=f"P = {length}, R = {rank}",
        config="configs/fgvc/cub.py",
        method="bpt_s",
        settings={_LENGTH: length, _RANK: rank},
    )
    for length, rank in (
        (20, 1),
        (20, 2),
        (20, 5),
        (20, 10),
        (20, 15),
        (20, 20),
        (10, 8),
        (40, 30),
    )
}
plan.methods.update(
    {
        f"eps_{name}": dict(
            label=f"fWhiten-S, eps = {name}",
            config="configs/fgvc/cub.py",
            method="fwhiten_s",
            settings={_LENGTH: 20, _EPS: float(name)},
            statistics="whiten_s",
        )
        for name in ("1e-2", "1e-4", "1e-6")
    }
)
plan.curves = []
