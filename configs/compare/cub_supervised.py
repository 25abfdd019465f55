"""The plan of cars.py on CUB-200-2011: other photographs, all else equal.

Run:    python tools/compare.py --plan configs/compare/cub_supervised.py
Data:   CUB-200-2011, laid out as in datasets/README.md, and the weights of cars.py
Result: docs/reproduction/results.md; docs/reproduction/raw/2026-11-30_recipes.md has what was run
"""

from .cars import plan

# VPT's recipe needs larger rates than on cars.
_VPT_RATES = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0]
_VPT_DEEP_RATES = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5]

plan.update(name="cub_supervised", title="CUB-200-2011, frozen ViT-Tiny, supervised")
for _method in plan.methods.values():
    _method.config = "configs/fgvc/cub.py"
    if _method.settings.get("recipe") == "vpt":
        _rates = _VPT_DEEP_RATES if _method.method == "vpt_d" else _VPT_RATES
        _method.grid = {"optimizer.lr": _rates}
