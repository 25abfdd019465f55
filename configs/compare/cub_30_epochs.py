"""The comparison with a plain linear head, as the paper has it, and 30 epochs: CUB, ViT-Tiny.

Run:    python tools/compare.py --plan configs/compare/cub_30_epochs.py --jobs 16
Data:   CUB-200-2011, laid out as in datasets/README.md
Result: docs/reproduction/results.md; with cub_sizes 8 minutes on an H100 with 16 cores and
        NVIDIA's MPS
"""

from .cub import plan

_LR = "optimizer.lr"

plan.name = "cub_30_epochs"
plan.title = "CUB-200-2011, a plain head and 30 epochs"
plan.about = (
    "As above, but nothing between the ViT's final norm and the head, 30 epochs, and higher rates "
    "to choose from; a run's time is one beside 4 to 24 others."
)
plan.settings["train.epochs"] = 30
del plan.settings["train.eval_epochs"], plan.settings["model.head_batch_norm"]
plan.grid[_LR] = [1e-2, 4e-2, 1.6e-1]
plan.methods.full.grid[_LR] = [2.5e-4, 1e-3, 4e-3]
