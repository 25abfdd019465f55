"""The recipes and the published results of the classification configs."""

import pytest

from bpt_det.engine import load_config
from tests.support.paths import ROOT

FGVC = {path.stem: f"configs/fgvc/{path.name}" for path in (ROOT / "configs/fgvc").glob("*.py")}
IMAGENET = {
    path.stem: f"configs/imagenet/{path.name}" for path in (ROOT / "configs/imagenet").glob("*.py")
}
NUM_CLASSES = {"cub": 200, "nabirds": 555, "flowers": 102, "dogs": 120, "cars": 196}

# method.md, section 5: lr, weight decay, weight decay of the head. Flowers' deep recipe is not
# stated: the shallow one.
MAE_SHALLOW = {
    "cub": (5e-2, 5e-3, 0.5),
    "nabirds": (5e-2, 5e-3, 0.1),
    "flowers": (1e-1, 5e-3, 1.0),
    "dogs": (5e-2, 5e-3, 0.1),
    "cars": (5e-2, 2e-3, 0.1),
}
MAE_DEEP = {**MAE_SHALLOW, "nabirds": (5e-2, 5e-3, 0.3), "cars": (5e-2, 5e-3, 0.1)}
MOCO = {
    "cub": (5e-2, 5e-3, 0.1),
    "dogs": (5e-2, 2e-3, 0.1),
    "flowers": (5e-2, 1e-3, 0.05),
    "nabirds": (5e-2, 1e-3, 0.05),
}
SUPERVISED = {
    "cub": (5e-3, 0.1, 10),
    "dogs": (5e-3, 1e-2, 3),
    "flowers": (1e-2, 5e-4, 10),
    "nabirds": (1e-2, 5e-2, 5),
    "cars": (2e-2, 1e-2, 3),
}
RECIPES = {
    **{
        f"{data}_{method}_{way}": recipes[data]
        for way, recipes in (("s", MAE_SHALLOW), ("d", MAE_DEEP))
        for method in ("bpt", "vpt", "spt", "fwhiten", "twhiten")
        for data in NUM_CLASSES
    },
    **{f"{data}_linear": MAE_SHALLOW[data] for data in NUM_CLASSES},
    **{f"{data}_full": (4e-3 * 32 / 1024, 0.05, 0.05) for data in NUM_CLASSES},  # ours
    **{f"{data}_bpt_s_moco": recipe for data, recipe in MOCO.items()},
    "dogs_bpt_d_moco": MOCO["dogs"],
    **{f"{data}_bpt_s_sup": recipe for data, recipe in SUPERVISED.items()},
}
PROMPTED = 0.01, 1e-2  # ImageNet: weight decay, and that of the head with all data
IMAGENET_RECIPES = {
    "linear": (0.1, *PROMPTED),
    **{f"{method}_s": (0.1, *PROMPTED) for method in ("bpt", "vpt", "spt", "fwhiten", "twhiten")},
    "bpt_s_vit_l": (0.2, *PROMPTED),
    "bpt_s_vit_h": (0.2, *PROMPTED),
    "bpt_s_vit_2b": (0.3, *PROMPTED),
    "bpt_s_1pct": (0.1, 0.01, 5e-1),
    "bpt_s_3pct": (0.1, 0.01, 5e-1),
    "bpt_s_10pct": (0.1, 0.01, 1e-1),
    "bpt_s_30pct": (0.1, 0.01, 1e-1),
    "bpt_s_vit_l_10pct": (0.2, 0.01, 1e-1),
    "bpt_s_vit_h_10pct": (0.2, 0.01, 1e-1),
    "bpt_s_vit_2b_10pct": (0.3, 0.01, 1e-1),
    "full": (4e-3, 0.05, 0.05),
    "full_vit_l": (4e-3, 0.05, 0.05),
    "full_vit_h": (4e-3, 0.05, 0.05),
    "full_vit_2b": (1e-2, 0.05, 0.05),
}


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_every_leaf_states_its_recipe_here():
    assert set(FGVC) == set(RECIPES)
    assert set(IMAGENET) == set(IMAGENET_RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_the_published_recipe_of_fgvc(name):
    cfg = load_config(FGVC[name])
    found = (
        cfg.optimizer.lr,
        cfg.optimizer.weight_decay,
        cfg.optimizer.params.head_weight_decay,
    )
    assert found == RECIPES[name]
    assert cfg.dataloader.train.total_batch_size == 32
    assert (cfg.train.epochs, cfg.lr_multiplier.warmup, cfg.lr_multiplier.final_lr) == (
        *(100, 10 / 100, 1e-8),
    )
    data = name.split("_")[0]
    assert (cfg.data.name, cfg.model.num_classes) == (data, NUM_CLASSES[data])
    is_mae = not name.endswith(("_moco", "_sup"))
    assert cfg.model.pooling == ("all" if is_mae else "cls")


@pytest.mark.parametrize("name", IMAGENET_RECIPES)
def test_the_published_recipe_of_imagenet(name):
    """Table 8 of the supplementary; the head's decay by the part of the data, as in the issue."""
    cfg = load_config(IMAGENET[name])
    found = (
        cfg.optimizer.lr,
        cfg.optimizer.weight_decay,
        cfg.optimizer.params.head_weight_decay,
    )
    assert found == IMAGENET_RECIPES[name]
    assert cfg.dataloader.train.total_batch_size == 1024
    percent = name.rpartition("_")[2].removesuffix("pct") if name.endswith("pct") else 100
    assert cfg.dataloader.fraction == int(percent)
    assert (cfg.data.name, cfg.model.num_classes) == ("imagenet", 1000)
    assert (cfg.lr_multiplier.warmup, cfg.lr_multiplier.final_lr) == (10 / 100, 1e-8)
    assert cfg.model.pooling == "all"
    if not name.startswith("full"):
        assert cfg.train.epochs == 100


@pytest.mark.parametrize(
    ("name", "epochs", "drop_path_rate"),
    [
        *(("full", 100, 0.1), ("full_vit_l", 50, 0.1)),
        *(("full_vit_h", 50, 0.2), ("full_vit_2b", 35, 0.3)),
    ],
)
def test_full_fine_tuning_on_imagenet_has_the_epochs_and_drop_path_of_table_8(
    name, epochs, drop_path_rate
):
    cfg = load_config(IMAGENET[name])
    assert (cfg.train.epochs, cfg.model.backbone.vit.drop_path_rate) == (epochs, drop_path_rate)


PUBLISHED = {  # MAE ViT-B: the order of NUM_CLASSES; a reading of the paper, in seeds/
    "vpt_s": ("42.15", "57.43", "69.15", "77.07", "43.38"),
    "spt_s": ("71.15", "61.87", "89.47", "80.01", "67.23"),
    "bpt_s": ("77.86", "72.03", "90.37", "81.91", "79.77"),
    "spt_d": ("80.13", "76.28", "93.07", "82.23", "84.61"),
    "bpt_d": ("82.00", "78.49", "93.72", "82.67", "86.11"),
    "full": ("80.55", "77.87", "91.71", "80.38", "83.51"),
    "bpt_s_sup": ("90.1", "86.2", "99.6", "89.4", "87.4"),  # Table 11
}
HEADERS = {
    f"{data}_{method}": value
    for method, values in PUBLISHED.items()
    for data, value in zip(NUM_CLASSES, values, strict=True)
}
HEADERS |= {"cub_fwhiten_s": "77.48", "cub_twhiten_s": "78.54"}


@pytest.mark.parametrize("name", FGVC)
def test_the_header_carries_the_published_accuracy(name):
    header = (ROOT / FGVC[name]).read_text().split('"""')[1]
    if name in HEADERS:
        assert f"Result: published {HEADERS[name]} top-1; " in header
    else:
        assert "Result: not published" in header
