"""Prompts in the frozen micro ViT, and the floor of the whitening: crops of shapes, 64 pixels.

Run:    python tools/compare.py --plan configs/compare/crops.py --jobs 2
Result: not measured yet
"""

_EPS = "model.backbone.prompt.whitening.eps"
_LR, _CACHE = "optimizer.lr", "dataloader.cache_prefix"

plan = dict(
    name="crops",
    title="Crops of shapes, frozen micro ViT",
    about=(
        "The micro ViT that comes with the package (a masked autoencoder of rendered shapes), "
        "frozen, under a linear head; 10 classes, 100 training, 20 validation and 100 test crops "
        "of each, 8 epochs. Shallow: P = 20, bilinear of rank 10; deep: P = R = 10 in the last 4 "
        "of 6 blocks; whitened prompts at three floors. The rate is chosen on the validation crops "
        "with the first seed; every final run reads the test crops once, with the weights that "
        "were best on the validation crops. Mean ± standard deviation over the seeds."
    ),
    before=["python -m bpt_det.shapes --crops --output datasets/shapes_crops --num-test 100"],
    tool="train_cls",
    settings={
        "dataloader.train.num_workers": 0,
        "dataloader.test.num_workers": 0,
    },
    grid={_LR: [5e-2, 1.5e-1]},
    grid_settings={"dataloader.final_test": None},
    seeds=[0, 1, 2],
    select="val/top1",
    report={"test top-1": "test/top1"},
    methods={
        "linear": dict(
            label="linear head",
            config="configs/shapes_crops/linear.py",
            settings={_CACHE: True},
        ),
        "vpt_s": dict(label="VPT-S", config="configs/shapes_crops/vpt_s.py"),
        "bpt_s": dict(label="BPT-S", config="configs/shapes_crops/bpt_s.py"),
        "bpt_d": dict(label="BPT-D", config="configs/shapes_crops/bpt_d.py"),
        **{
            name: dict(
                label=f"fWhiten-S, eps {eps:g}",
                config="configs/shapes_crops/fwhiten_s.py",
                settings={_EPS: eps},
                statistics="whiten_s",
            )
            for name, eps in (("eps_1e-2", 1e-2), ("eps_1e-4", 1e-4), ("eps_1e-6", 1e-6))
        },
    },
    curves=["linear", "vpt_s", "bpt_s", "eps_1e-4"],
)
