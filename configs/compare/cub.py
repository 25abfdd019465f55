"""The paper's comparison at a size for two CPU cores: CUB-200-2011, micro ViT, 64 pixels.

Run:    python tools/compare.py --plan configs/compare/cub.py --jobs 2
Data:   CUB-200-2011, laid out as in datasets/README.md
Result: not measured yet
"""

from bpt_det.vit import ARCHITECTURES as _ARCHITECTURES

_VIT = "output/tiny_imagenet/mae_micro/encoder.pth"
_LENGTH, _RANK = "model.backbone.prompt.prompt_length", "model.backbone.prompt.rank"
_SHALLOW = {_LENGTH: 16}
_DEEP = {_LENGTH: 8, "model.backbone.placement": "last_4"}

plan = dict(
    name="cub",
    title="CUB-200-2011, frozen micro ViT",
    about=(
        "The micro ViT (patches of 8 pixels), pre-trained as a masked autoencoder on 20,000 "
        "photographs of 64 pixels, frozen; CUB-200-2011 at 64 pixels. Shallow: P = 16, R = 12; "
        "deep: P = 8, R = 8, in the last 4 of 6 blocks. The rate is chosen on the validation "
        "images with the first seed; every final run reads the test images once, with the weights "
        "that were best on the validation images. Mean ± standard deviation over the seeds."
    ),
    before=[
        "python tools/pretrain_mae.py --config-file configs/tiny_imagenet/mae_micro.py "
        "data=tiny_imagenet_64.zip"
    ],
    tool="train_cls",
    settings={
        **{
            f"model.backbone.vit.{key}": value for key, value in _ARCHITECTURES["vit_micro"].items()
        },
        "model.backbone.vit.pretrain_size": 64,
        "model.backbone.vit.checkpoint": _VIT,
        "dataloader.image_size": 64,
        "dataloader.resize_size": 72,
        "dataloader.train.num_workers": 0,
        "dataloader.test.num_workers": 0,
        "train.epochs": 12,
        "train.log_period": 84,
    },
    grid={"optimizer.lr": [1e-2, 5e-2, 2.5e-1]},
    grid_settings={"dataloader.final_test": None},
    seeds=[0, 1, 2],
    select="val/top1",
    report={"test top-1": "test/top1", "test mean per class": "test/mean_per_class"},
    methods={
        "linear": dict(label="linear head", config="configs/fgvc/cub_linear.py"),
        "vpt_s": dict(label="VPT-S", config="configs/fgvc/cub_vpt_s.py", settings=_SHALLOW),
        "spt_s": dict(
            label="SPT-S", config="configs/fgvc/cub_spt_s.py", settings=_SHALLOW, statistics="spt_s"
        ),
        "fwhiten_s": dict(
            label="fWhiten-S",
            config="configs/fgvc/cub_fwhiten_s.py",
            settings=_SHALLOW,
            statistics="whiten_s",
        ),
        "twhiten_s": dict(
            label="tWhiten-S",
            config="configs/fgvc/cub_twhiten_s.py",
            settings=_SHALLOW,
            statistics="whiten_s",
        ),
        "bpt_s": dict(
            label="BPT-S", config="configs/fgvc/cub_bpt_s.py", settings={**_SHALLOW, _RANK: 12}
        ),
        "vpt_d": dict(label="VPT-D", config="configs/fgvc/cub_vpt_d.py", settings=_DEEP),
        "spt_d": dict(
            label="SPT-D", config="configs/fgvc/cub_spt_d.py", settings=_DEEP, statistics="spt_d"
        ),
        "bpt_d": dict(
            label="BPT-D", config="configs/fgvc/cub_bpt_d.py", settings={**_DEEP, _RANK: 8}
        ),
        "full": dict(
            label="full fine-tuning",
            config="configs/fgvc/cub_full.py",
            grid={
                "optimizer.lr": [1.25e-4, 5e-4, 2e-3],
                "optimizer.params.head_weight_decay": [0.05, 0.5],
            },
        ),
    },
    curves=["vpt_s", "spt_s", "bpt_s"],
)
