"""What several layers, a neck and LoRA add to a frozen ViT-Tiny on photographs of COCO.

Run:    python tools/compare.py --plan configs/compare/photographs_layers.py
Data:   COCO 2017 and the weights of photographs.py
Result: not measured yet
"""

from .photographs import plan

_NET = "model.backbone.net."
_FOUR = {_NET + "layers": [2, 5, 8, 11]}
_NECK = {_NET + "neck_blocks": 1}
_PROMPTS = {_NET + "prompt.prompt_length": 32, _NET + "prompt.rank": 8}


def _row(label, settings, method="frozen"):
    return dict(label=label, config="configs/coco/mask_rcnn.py", method=method, settings=settings)


plan.update(
    name="photographs_layers",
    title="Photographs of COCO, layers of a frozen ViT-Tiny under Mask R-CNN",
    about=(
        "The detector and the schedule of `compare/photographs`, rate 1e-3 for all rows. Four "
        "layers: blocks 2, 5, 8 and 11, joined by 1x1. One layer: the last, with the norm and the "
        "1x1 layer that several have. Mean ± standard deviation over the seeds."
    ),
    # What matters first; each is reported when it has ended.
    methods={
        "last": _row("last layer", {}),
        "four": _row("four layers", _FOUR),
        "one": _row("one layer, norm and 1x1", {_NET + "layers": [11]}),
        "bpt_s": _row("BPT-S, last layer", _PROMPTS, "bpt_s"),
        "bpt_s_four": _row("BPT-S, four layers", {**_PROMPTS, **_FOUR}, "bpt_s"),
        "lora": _row("LoRA, last layer", {}, "lora"),
        "lora_four": _row("LoRA, four layers", _FOUR, "lora"),
        "neck": _row("last layer, one neck block", _NECK),
        "four_neck": _row("four layers, one neck block", {**_FOUR, **_NECK}),
    },
)
