"""The paper's comparison at a small size: CUB-200-2011, ViT-Tiny, 64 pixels; for a GPU.

Run:    python tools/compare.py --plan configs/compare/cub.py --jobs 16
Data:   CUB-200-2011, laid out as in datasets/README.md
Result: docs/reproduction/results.md; 11 minutes on an H100 with 16 cores and NVIDIA's MPS
"""

from bpt_det.vit import ARCHITECTURES as _ARCHITECTURES

_BASE = "configs/fgvc/cub.py"
_VIT = "output/tiny_imagenet/mae_tiny/encoder.pth"
_LENGTH, _RANK = "model.backbone.prompt.prompt_length", "model.backbone.prompt.rank"
_LR, _DECAY = "optimizer.lr", "optimizer.params.head_weight_decay"
_SHALLOW = {_LENGTH: 20}
_DEEP = {_LENGTH: 10, "model.backbone.placement": "last_4"}

plan = dict(
    name="cub",
    title="CUB-200-2011, frozen ViT-Tiny",
    about=(
        "ViT-Tiny (patches of 8 pixels), pre-trained as a masked autoencoder on 20,000 photographs "
        "of 64 pixels, frozen. 100 classes of CUB-200-2011 at 64 pixels, 100 epochs in batches of "
        "64, a batch norm before the head as in MAE's linear probing. Shallow: P = 20, R = 15; "
        "deep: P = R = 10, in the last 4 of 12 blocks. Rate and weight decay of the head are "
        "chosen on the validation images, with the first seed and 10 epochs. Every final run reads "
        "the test images once, with the weights that were best on the validation images. Mean ± "
        "standard deviation over the seeds; a run's time is one beside 13 to 15 others on one "
        "H100."
    ),
    before=[
        "python tools/pretrain_mae.py --config-file configs/tiny_imagenet/mae_tiny.py "
        "data=tiny_imagenet_64.zip"
    ],
    command="train-cls",
    settings={
        **{f"model.backbone.vit.{key}": value for key, value in _ARCHITECTURES["vit_tiny"].items()},
        "model.backbone.vit.patch_size": 8,
        "model.backbone.vit.pretrain_size": 64,
        "model.backbone.vit.checkpoint": _VIT,
        "model.head_batch_norm": True,
        "dataloader.image_size": 64,
        "dataloader.resize_size": 72,
        "dataloader.in_memory": True,  # 0.4 GB a run
        "dataloader.train.total_batch_size": 64,
        "dataloader.train.num_workers": 2,
        "dataloader.test.num_workers": 0,
        "train.epochs": 100,
        "train.eval_epochs": 5,
        "train.log_period": 42,
    },
    grid={_LR: [2.5e-3, 1e-2, 4e-2], _DECAY: [0.01, 0.1]},
    grid_settings={"dataloader.final_test": None, "train.epochs": 10},
    seeds=[0, 1, 2],
    select="val/top1",
    report={"test top-1": "test/top1", "test mean per class": "test/mean_per_class"},
    methods={
        "frozen": dict(label="linear head", config=_BASE, method="frozen"),
        "vpt_s": dict(config=_BASE, method="vpt_s", settings=_SHALLOW),
        "spt_s": dict(config=_BASE, method="spt_s", settings=_SHALLOW, statistics="spt_s"),
        "fwhiten_s": dict(
            config=_BASE,
            method="fwhiten_s",
            settings=_SHALLOW,
            statistics="whiten_s",
        ),
        "twhiten_s": dict(
            config=_BASE,
            method="twhiten_s",
            settings=_SHALLOW,
            statistics="whiten_s",
        ),
        "bpt_s": dict(config=_BASE, method="bpt_s", settings={**_SHALLOW, _RANK: 15}),
        "vpt_d": dict(config=_BASE, method="vpt_d", settings=_DEEP),
        "spt_d": dict(config=_BASE, method="spt_d", settings=_DEEP, statistics="spt_d"),
        "bpt_d": dict(config=_BASE, method="bpt_d", settings={**_DEEP, _RANK: 10}),
        "full": dict(
            config=_BASE,
            method="full",
            grid={_LR: [1e-3, 4e-3, 1.6e-2], _DECAY: [0.01, 0.1]},
        ),
    },
    curves=["vpt_s", "spt_s", "bpt_s"],
)
