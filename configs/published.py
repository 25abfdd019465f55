"""Published results, by base and what is chosen of it; the first word of a key is the method.

`python tools/update_tables.py` writes them into the tables of README.md, and `make docs` into those
of docs/reproduction/published.md. None is ours.

Source: arXiv:2506.22908 with its supplementary (fine-grained datasets, ImageNet), the authors'
        poster (COCO), facebookresearch/detectron2 projects/ViTDet (`vitdet_b`, a named config)
"""

published = {
    # Box AP / mask AP on COCO val2017, frozen MAE ViT-B, 37 epochs; vitdet_b: 100 epochs.
    "coco/mask_rcnn": {
        "frozen": "30.70 / 28.73",
        "vpt_s": "33.98 / 31.68",
        "vpt_d": "34.62 / 32.63",
        "spt_s": "36.46 / 33.70",
        "spt_d": "37.85 / 34.71",
        "bpt_s": "38.55 / 35.35",
        "bpt_d": "39.67 / 36.42",
    },
    "coco/cascade": {
        "frozen": "35.12 / 31.29",
        "vpt_s": "36.78 / 32.63",
        "vpt_d": "38.70 / 34.27",
        "spt_s": "39.63 / 36.78",
        "spt_d": "41.32 / 37.53",
        "bpt_s": "43.01 / 38.83",
        "bpt_d": "44.97 / 39.69",
        "vitdet_b": "54.0 / 46.7",
    },
    # Top-1 on the test images, in percent.
    "fgvc/cub": {
        "vpt_s": "42.15",
        "spt_s": "71.15",
        "spt_d": "80.13",
        "bpt_s": "77.86",
        "bpt_d": "82.00",
        "fwhiten_s": "77.48",
        "twhiten_s": "78.54",
        "full": "80.55",
        "bpt_s pretraining=supervised": "90.1",
    },
    "fgvc/nabirds": {
        "vpt_s": "57.43",
        "spt_s": "61.87",
        "spt_d": "76.28",
        "bpt_s": "72.03",
        "bpt_d": "78.49",
        "full": "77.87",
        "bpt_s pretraining=supervised": "86.2",
    },
    "fgvc/flowers": {
        "vpt_s": "69.15",
        "spt_s": "89.47",
        "spt_d": "93.07",
        "bpt_s": "90.37",
        "bpt_d": "93.72",
        "full": "91.71",
        "bpt_s pretraining=supervised": "99.6",
    },
    "fgvc/dogs": {
        "vpt_s": "77.07",
        "spt_s": "80.01",
        "spt_d": "82.23",
        "bpt_s": "81.91",
        "bpt_d": "82.67",
        "full": "80.38",
        "bpt_s pretraining=supervised": "89.4",
    },
    "fgvc/cars": {
        "vpt_s": "43.38",
        "spt_s": "67.23",
        "spt_d": "84.61",
        "bpt_s": "79.77",
        "bpt_d": "86.11",
        "full": "83.51",
        "bpt_s pretraining=supervised": "87.4",
    },
    "imagenet": {
        "vpt_s": "63.71",
        "spt_s": "69.98",
        "bpt_s": "72.15",
        "fwhiten_s": "72.09",
        "twhiten_s": "72.37",
        "full": "76.39",
        "bpt_s fraction=1pct": "45.43",
        "bpt_s fraction=3pct": "56.79",
        "bpt_s fraction=10pct": "64.63",
        "bpt_s fraction=30pct": "68.92",
        "bpt_s vit=vit_l fraction=10pct": "75.23",
        "bpt_s vit=vit_h fraction=10pct": "77.97",
        "bpt_s vit=vit_2b fraction=10pct": "79.80",
        "full vit=vit_l fraction=10pct": "69.46",
        "full vit=vit_h fraction=10pct": "74.43",
        "full vit=vit_2b fraction=10pct": "76.82",
    },
}
