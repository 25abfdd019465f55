"""Detection and segmentation of rendered shapes with a frozen micro ViT, at a fixed budget.

Run:    python tools/compare.py --plan configs/compare/shapes.py
Before: python -m bpt_det.shapes --output datasets/shapes
        python -m bpt_det.shapes --output datasets/shapes_test --num-train 1 --num-val 500 --seed 2
Result: not measured yet
"""

_TEST = "datasets/shapes_test"

plan = dict(
    name="shapes",
    title="Detection of shapes, frozen micro ViT",
    about=(
        "Cascade Mask R-CNN with slim heads on a frozen micro ViT, pre-trained as a masked "
        "autoencoder on other renderings; 800 iterations of 4 images of 128 pixels, as in `make "
        "demo`. The rate is chosen on the validation images of the data set; the final runs are "
        "evaluated on 500 images of another rendering. Overlapping: instances whose box has an IoU "
        "of at least 0.1 with another one's. Mean ± standard deviation over the seeds."
    ),
    tool="train_net",
    settings={
        "train.eval_period": 400,
        "+dataloader.evaluator.overlap_iou": 0.1,
    },
    grid={"optimizer.lr": [5e-4, 1e-3, 2e-3]},
    final_settings={
        "dataloader.test.dataset.names": "compare_shapes_test",
        "+dataloader.test.dataset.json_file": f"{_TEST}/annotations/instances_val.json",
        "+dataloader.test.dataset.image_root": f"{_TEST}/val",
    },
    seeds=[0, 1, 2],
    select="bbox/AP",
    report={
        "box AP": "bbox/AP",
        "mask AP": "segm/AP",
        "box AP, overlapping": "bbox/AP_overlapping",
        "mask AP, overlapping": "segm/AP_overlapping",
    },
    methods={
        name: dict(label=label, config=f"configs/shapes/cascade_{name}.py", statistics=statistics)
        for name, label, statistics in (
            ("frozen", "frozen", None),
            ("vpt_s", "VPT-S", None),
            ("spt_s", "SPT-S", "spt_s"),
            ("bpt_s", "BPT-S", None),
            ("bpt_d", "BPT-D", None),
            ("full", "full fine-tuning", None),
        )
    },
)
