"""How rank and length of shallow bilinear prompts matter: CUB-200-2011, micro ViT, 64 pixels.

Run:    python tools/compare.py --plan configs/compare/cub_sizes.py --jobs 2
Data:   CUB-200-2011, laid out as in datasets/README.md
Result: not measured yet
"""

from .cub import plan

_LENGTH, _RANK = "model.backbone.prompt.prompt_length", "model.backbone.prompt.rank"

plan.name = "cub_sizes"
plan.title = "CUB-200-2011, rank and length of BPT-S"
plan.about = (
    "As above, at one rate. Ranks of 6, 12, 25, 50, 75 and 100 % of 16 prompts; then 8 and 32 "
    "prompts at a rank of 75 %."
)
plan.grid = {"optimizer.lr": [5e-2]}
plan.methods = {
    f"p{length}_r{rank}": dict(
        label=f"P = {length}, R = {rank}",
        config="configs/fgvc/cub_bpt_s.py",
        settings={_LENGTH: length, _RANK: rank},
    )
    for length, rank in (
        (16, 1),
        (16, 2),
        (16, 4),
        (16, 8),
        (16, 12),
        (16, 16),
        (8, 6),
        (32, 24),
    )
}
plan.curves = []
