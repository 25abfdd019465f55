"""What several layers of a frozen ViT add to its last one: shapes, micro ViT, a short training.

Run:    python tools/compare.py --plan configs/compare/shapes_layers.py
Data:   rendered by the commands of `before`
Result: docs/reproduction/frozen_backbones.md
"""

from ..common.detection_report import REPORT

_BASE = "configs/shapes/cascade.py"
_TEST = "datasets/shapes_test_150"
_NET = "model.backbone.net."
_FOUR = {_NET + "layers": [0, 2, 3, 5]}  # the last of each quarter of 6 blocks


def _row(label, settings, method="frozen"):
    return dict(label=label, config=_BASE, method=method, settings=settings)


plan = dict(
    name="shapes_layers",
    title="Layers of a frozen micro ViT, shapes",
    about=(
        "The detector of `compare/shapes`, 400 iterations of 2 images of 128 pixels instead of "
        "1400, rate 1e-3 for all rows, tested on 150 images of another rendering. One layer: the "
        "last, with the norm and the 1x1 layer that several layers have. Mean ± standard deviation "
        "over the seeds."
    ),
    before=[
        "python -m bpt_det.shapes --output datasets/shapes",
        f"python -m bpt_det.shapes --output {_TEST} --num-train 1 --num-val 150 --seed 2",
    ],
    command="train",
    settings={
        "train.max_iter": 400,
        "train.eval_period": 400,
        "train.checkpointer.period": 400,
        "dataloader.test.dataset.names": "compare_shapes_150",
        "+dataloader.test.dataset.json_file": f"{_TEST}/annotations/instances_val.json",
        "+dataloader.test.dataset.image_root": f"{_TEST}/val",
    },
    grid={},
    seeds=[0, 1, 2],
    select="bbox/AP",
    select_last=True,
    report=REPORT,
    # What matters first; each is reported when it has ended.
    methods={
        "last": _row("last layer", {}),
        "four": _row("four layers, joined by 1x1", _FOUR),
        "one": _row("one layer, norm and 1x1", {_NET + "layers": [5]}),
        "neck": _row("last layer, one neck block", {_NET + "neck_blocks": 1}),
        "four_weights": _row("four layers, learned weights", {**_FOUR, _NET + "join": "weights"}),
        "three_levels": _row(
            "three layers, a level each", {_NET + "layers": [1, 3, 5], _NET + "join": "levels"}
        ),
        "four_neck": _row("four layers, one neck block", {**_FOUR, _NET + "neck_blocks": 1}),
        "bpt_s": _row("BPT-S, last layer", {}, "bpt_s"),
        "bpt_s_four": _row("BPT-S, four layers", _FOUR, "bpt_s"),
        "lora": _row("LoRA, last layer", {}, "lora"),
        "lora_four": _row("LoRA, four layers", _FOUR, "lora"),
    },
)
