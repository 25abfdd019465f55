"""How rank and length of shallow bilinear prompts matter: CUB-200-2011, ViT-Tiny, 64 pixels.

Run:    python tools/compare.py --plan configs/compare/cub_sizes.py --jobs 2
Before: python tools/pretrain_mae.py --config-file configs/tiny_imagenet/mae_tiny.py data=IMAGES
Data:   CUB-200-2011, laid out as in datasets/README.md
Result: not measured yet
"""

from .cub import plan

_LENGTH, _RANK = "model.backbone.prompt.prompt_length", "model.backbone.prompt.rank"

plan.name = "cub_sizes"
plan.title = "CUB-200-2011, rank and length of BPT-S"
plan.about = (
    "As above, at one rate. Ranks of 5, 10, 25, 50, 75 and 100 % of 32 prompts; then 16, 32 and 64 "
    "prompts at a rank of 75 %."
)
plan.grid = {"optimizer.lr": [1e-2], "optimizer.params.head_weight_decay": [0.5]}
plan.methods = {
    f"p{length}_r{rank}": dict(
        label=f"P = {length}, R = {rank}",
        config="configs/fgvc/cub_bpt_s.py",
        settings={_LENGTH: length, _RANK: rank},
    )
    for length, rank in (
        (32, 2),
        (32, 3),
        (32, 8),
        (32, 16),
        (32, 24),
        (32, 32),
        (16, 12),
        (64, 48),
    )
}
plan.curves = []
