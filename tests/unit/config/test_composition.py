"""Composing a base with a method and further choices, and finding configs by name."""

import shutil

import pytest
from detectron2.config import LazyConfig

from bpt_det.config import load_config
from bpt_det.config.composition import compose
from bpt_det.config.files import find_bases, find_config
from bpt_det.utils.errors import InputError
from tests.support.paths import ROOT

pytestmark = pytest.mark.heavy

FROZEN = "method = dict(label='frozen', settings=dict(prompt=None), statistics=None)"
DEEP = """
method = dict(
    label="deep",
    settings={"prompt": dict(length=4, width="${..vit.width}"), "vit.rate": 0.1},
    statistics="tokens",
)
"""
BASE = """
model = dict(net=dict(vit=dict(width=8, rate=0.0), prompt=None, placement="shallow"))
train = dict(output_dir="", prompt_statistics=None, lr=1, steps=10)
choices = {
    "size=small": {},
    "size=large": {"model.net.vit": dict(width=16), "train.lr": 2},
    "data=all": {},
    "data=few": {"train.steps": 3},
    "method=d*": {"train.lr": 5, "model.net.prompt.length": 6},
    "method=deep size=large": {"train.lr": 7},
}
"""


@pytest.fixture
def base(tmp_path):
    """A folder of configs with two methods and one base; returns the base's path."""
    for name, text in (("methods/frozen", FROZEN), ("methods/deep", DEEP), ("group/base", BASE)):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return str(tmp_path / "group/base.py")


def composed(base, *overrides):
    cfg = LazyConfig.load(base)
    assert compose(cfg, base, overrides) == []
    return cfg


def test_without_a_choice_a_base_has_no_prompts_and_its_defaults(base):
    cfg = composed(base)
    assert set(cfg) == {"model", "train"}
    assert cfg.train == {
        **dict(output_dir="output/group/base_frozen", prompt_statistics=None, lr=1, steps=10)
    }
    assert cfg.model.net.prompt is None


def test_a_method_sets_what_is_beside_the_vit_and_names_the_statistics_it_needs(base):
    cfg = composed(base, "method=deep")
    assert cfg.model.net.prompt == {"length": 6, "width": 8}
    assert (cfg.model.net.vit.rate, cfg.model.net.placement) == (0.1, "shallow")
    assert cfg.train.output_dir == "output/group/base_deep"
    assert cfg.train.prompt_statistics == "statistics/group/base_tokens.safetensors"


def test_later_conditions_replace_earlier_ones_and_mappings_are_merged(base):
    cfg = composed(base, "size=large")
    assert (cfg.model.net.vit, cfg.train.lr) == ({"width": 16, "rate": 0.0}, 2)
    cfg = composed(base, "size=large", "data=few", "method=deep")
    assert (cfg.train.lr, cfg.train.steps, cfg.model.net.prompt.width) == (7, 3, 16)
    assert cfg.train.output_dir == "output/group/base_deep_large_few"
    assert cfg.train.prompt_statistics == "statistics/group/base_large_few_tokens.safetensors"


def test_all_other_overrides_are_left_in_their_order(base):
    cfg = LazyConfig.load(base)
    overrides = ["train.lr=9", "method=frozen", "+new=1", "method=deep", "train.steps=2"]
    assert compose(cfg, base, overrides) == ["train.lr=9", "+new=1", "train.steps=2"]
    assert cfg.train.output_dir == "output/group/base_deep"  # the last one counts


@pytest.mark.parametrize(
    ("override", "facts"),
    [
        ("method=dep", ("method=dep", "did you mean deep", "frozen, deep")),
        ("size=huge", ("size=huge", "small, large")),
        ("sise=large", ("'sise'", "did you mean 'size'", "method, size, data")),
        ("+method=deep", ("'+method=deep'", "write method=deep")),  # would add a key and do nothing
        ("++size=large", ("'++size=large'", "write size=large")),
        ("method = deep", ("'method = deep'", "write method=deep")),
    ],
)
def test_an_unknown_choice_or_value_is_refused_with_those_there_are(base, override, facts):
    with pytest.raises(InputError) as caught:
        composed(base, override)
    assert all(fact in str(caught.value) for fact in facts), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "key"),
    [
        ("group/base", '"train.steps": 3', '"train.step": 3', "train.step"),
        ("methods/deep", '"vit.rate"', '"vit.rates"', "model.net.vit.rates"),
    ],
)
def test_a_choice_that_sets_an_unknown_key_is_refused(base, tmp_path, name, old, new, key):
    path = tmp_path / f"{name}.py"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=f"sets {key}, which"):
        composed(base, "method=deep", "data=few")


def test_a_new_method_is_one_new_file(tmp_path):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    text = (ROOT / "configs/methods/bpt_d.py").read_text().replace("last_4", "first_2")
    (tmp_path / "configs/methods/mine.py").write_text(text)
    cfg = load_config(str(tmp_path / "configs/fgvc/nabirds.py"), ["method=mine"])
    assert cfg.model.backbone.placement == "first_2"
    assert cfg.train.output_dir == "output/fgvc/nabirds_mine"


@pytest.mark.parametrize("name", ["fgvc/cub", "fgvc/cub.py", "configs/fgvc/cub.py"])
def test_a_config_is_found_by_its_name_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == str(ROOT / "configs/fgvc/cub.py")


def test_an_existing_file_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fgvc").mkdir()
    (tmp_path / "fgvc/cub.py").touch()
    assert find_config("fgvc/cub.py") == "fgvc/cub.py"


def test_a_config_that_only_speaks_of_choices_is_no_base(base, tmp_path, monkeypatch):
    (tmp_path / "group/plain.py").write_text("model = dict()  # without choices\n")
    monkeypatch.setattr("bpt_det.config.files.config_folder", lambda: tmp_path)
    choices = {"size": ["small", "large"], "data": ["all", "few"]}
    assert find_bases() == {"group/base": {"method": ["frozen", "deep"], **choices}}
    plain = str(tmp_path / "group/plain.py")
    assert compose(LazyConfig.load(plain), plain, ["+note=hello"]) == ["+note=hello"]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("configs/fgvc/cub_bpt_d.py", "configs/fgvc/cub.py method=bpt_d"),
        ("./configs/fgvc/cub_bpt_d.py", "configs/fgvc/cub.py method=bpt_d"),
        ("fgvc/dogs_bpt_s_moco", "configs/fgvc/dogs.py method=bpt_s pretraining=moco"),
        ("configs/fgvc/cars_bpt_s_sup.py", "cars.py method=bpt_s pretraining=supervised"),
        ("configs/coco/cascade_bpt_d_vit_h.py", "coco/cascade.py method=bpt_d vit=vit_h"),
        ("configs/coco/cascade_bpt_d_released.py", "coco/cascade.py method=bpt_d_released"),
        ("configs/coco/mask_rcnn_vpt_s.py", "configs/coco/mask_rcnn.py method=vpt_s"),
        (
            "configs/imagenet/bpt_s_vit_2b_10pct.py",
            "configs/imagenet.py method=bpt_s vit=vit_2b fraction=10pct",
        ),
        ("configs/shapes_crops/fwhiten_s.py", "configs/shapes/crops.py method=fwhiten_s"),
        (
            "configs/fgvc/cub_linear.py",
            "configs/fgvc/cub.py with method=NAME, one of frozen, adaptformer",
        ),
    ],
)
def test_a_config_that_does_not_exist_is_refused_with_the_base_in_its_place(name, command):
    with pytest.raises(InputError, match="does not exist") as caught:
        load_config(name)
    assert name in str(caught.value) and command in str(caught.value)


@pytest.mark.parametrize("name", [".", "/", "..", "./configs"])
def test_a_folder_is_refused_with_the_bases_there_are(name):
    with pytest.raises(InputError, match=r"is no file; .*coco/cascade, "):
        load_config(name)


@pytest.mark.parametrize("override", ["vit=vit_l", "+vit=vit_l", "+method=vpt_d", "method = vpt_d"])
def test_no_choice_is_added_to_a_config_that_is_no_base(override):
    command = "write configs/coco/cascade.py method="
    with pytest.raises(InputError, match=f"is not a base.*{command}") as caught:
        load_config("coco/cascade_bpt_s", [override])
    choice = override.lstrip("+").replace(" ", "")
    assert choice in str(caught.value).partition("write ")[2].split(".py")[1]


def test_a_method_goes_with_no_config_that_has_one(tmp_path):
    with pytest.raises(
        InputError, match=r"coco/cascade_bpt_s\.py.*configs/coco/cascade\.py me"
    ) as e:
        load_config("coco/cascade_bpt_s", ["method=vpt_d"])
    assert str(e.value).startswith("method=vpt_d: ") and str(e.value).endswith("method=vpt_d.")
    LazyConfig.save(load_config("fgvc/cub", ["method=bpt_s"]), str(tmp_path / "config.yaml"))
    with pytest.raises(InputError, match=r"config\.yaml'.*configs/fgvc/cub\.py method=v"):
        load_config(str(tmp_path / "config.yaml"), ["method=vpt_d"])
