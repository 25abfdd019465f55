"""Detection and segmentation of rendered shapes with a frozen micro ViT, in the budget of the demo.

Run:    python tools/compare.py --plan configs/compare/shapes.py --jobs 2
Data:   rendered by the commands of `before`
Result: docs/reproduction/results.md
"""

from ..common.detection_report import REPORT

_BASE = "configs/shapes/cascade.py"
_TEST = "datasets/shapes_test"

plan = dict(
    name="shapes",
    title="Detection of shapes, frozen micro ViT",
    about=(
        "Cascade Mask R-CNN with slim heads on a frozen micro ViT, pre-trained as a masked "
        "autoencoder on other renderings. 1400 iterations of 2 images of 128 pixels, as in `make "
        "demo`, with the rates configured. Those were chosen with BPT-S on one more rendering, "
        "that of full fine-tuning from two on the validation images of the demo, all with weights "
        "of a shorter pre-training. All are evaluated on 500 images of a rendering that nothing "
        "was chosen on. Overlapping: instances whose box has an IoU of at least 0.1 with another "
        "one's. Mean ± standard deviation over the seeds."
    ),
    before=[
        "python -m bpt_det.shapes --output datasets/shapes",
        f"python -m bpt_det.shapes --output {_TEST} --num-train 1 --num-val 500 --seed 2",
    ],
    command="train",
    settings={"+dataloader.evaluator.overlap_iou": 0.1},
    grid={},
    final_settings={
        "dataloader.test.dataset.names": "compare_shapes_test",
        "+dataloader.test.dataset.json_file": f"{_TEST}/annotations/instances_val.json",
        "+dataloader.test.dataset.image_root": f"{_TEST}/val",
    },
    seeds=[0, 1, 2],
    select="bbox/AP",
    report={
        **REPORT,
        "box AP, overlapping": "bbox/AP_overlapping",
        "mask AP, overlapping": "segm/AP_overlapping",
    },
    methods={
        "frozen": dict(config=_BASE, method="frozen"),
        "vpt_s": dict(config=_BASE, method="vpt_s"),
        "spt_s": dict(config=_BASE, method="spt_s", statistics="spt_s"),
        "bpt_s": dict(config=_BASE, method="bpt_s"),
        "bpt_d": dict(config=_BASE, method="bpt_d"),
        "full": dict(
            config=_BASE,
            method="full",
            settings={"optimizer.lr": 1e-3},
        ),
    },
)
