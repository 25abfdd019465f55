"""Loading configs and overriding their keys."""

import pytest
from detectron2.config import LazyConfig
from omegaconf import OmegaConf

from bpt_det.engine import load_config
from bpt_det.engine.config import as_override
from bpt_det.engine.config_tree import find_vit_owner
from bpt_det.utils.errors import InputError

SHAPES = "configs/shapes/cascade_bpt_s.py"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch, repository_root):
    monkeypatch.chdir(repository_root)


def test_an_override_changes_a_key_and_what_interpolates_from_it():
    cfg = load_config(SHAPES, ["dataloader.image_size=96", "train.max_iter=7"])
    assert cfg.model.backbone.square_pad == 96
    assert cfg.lr_multiplier.max_iter == 7


def test_an_override_reaches_into_lists():
    cfg = load_config(SHAPES, ["dataloader.train.mapper.augmentations.1.max_scale=1.5"])
    assert cfg.dataloader.train.mapper.augmentations[1].max_scale == 1.5
    assert cfg.dataloader.train.mapper.augmentations[1].min_scale == 0.8


def test_an_override_may_set_a_key_that_is_none_now():
    cfg = load_config(SHAPES, ["model.backbone.net.vit.checkpoint=some/file.pth"])
    assert cfg.model.backbone.net.vit.checkpoint == "some/file.pth"


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("train.max_itr=10", "train.max_iter"),
        ("optimizer.learning_rate=1", "optimizer."),
        ("dataloader.train.mapper.augmentations.9.max_scale=1", "augmentations.1.max_scale"),
        ("model.backbone.net.promt.rank=5", "model.backbone.net.prompt.rank"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(override, nearest):
    key, value = override.split("=")
    with pytest.raises(InputError) as caught:
        load_config(SHAPES, [override])
    assert f"the config has no key '{key}'; did you mean '" in str(caught.value)
    assert nearest in str(caught.value).split("did you mean")[1]
    assert str(caught.value).endswith(f"To add a new key write '+{key}={value}'.")


def test_a_plus_adds_a_key_on_purpose():
    assert load_config(SHAPES, ["+train.note=hello"]).train.note == "hello"


@pytest.mark.parametrize("override", ["train.max_iter", "=3", "--resum"])
def test_an_override_without_key_and_value_is_refused(override):
    with pytest.raises(InputError, match=r"is not of the form key=value\."):
        load_config(SHAPES, [override])


def test_a_value_that_does_not_parse_is_refused():
    with pytest.raises(
        InputError, match=r"override 'train.output_dir=\[1' cannot be parsed; quote"
    ):
        load_config(SHAPES, ["train.output_dir=[1"])


def test_a_list_without_brackets_is_refused_in_one_line():
    with pytest.raises(InputError) as caught:
        load_config(SHAPES, ["model.backbone.net.placement=0,3"])
    (line,) = str(caught.value).splitlines()
    assert line.startswith("override 'model.backbone.net.placement=0,3' cannot be applied (")
    assert line.endswith(
        "); write a list in brackets, as in key=[0,3], and quote a text that holds commas."
    )


def test_a_missing_config_file_is_named():
    with pytest.raises(InputError, match=r"config file 'coco/no.py' does not exist; .*fgvc/cub"):
        load_config("coco/no.py")


def test_no_config_file_at_all_names_one_to_start_with():
    with pytest.raises(InputError, match=r"no config given; .*coco/cascade.*fgvc/cub"):
        load_config("")


def test_a_config_without_the_needed_keys_lists_them_all(tmp_path):
    path = tmp_path / "half.py"
    path.write_text("model = {}\ntrain = {}\n")
    with pytest.raises(
        InputError,
        match=r"half.py' lacks dataloader.train, .*train.output_dir, .*train.ddp; con",
    ):
        load_config(str(path))


def test_a_config_that_is_not_python_is_named(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("model = {\n")
    with pytest.raises(InputError, match=r"broken.py' is not valid Python: '\{' was never closed"):
        load_config(str(path))


def test_a_config_of_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("{}")
    with pytest.raises(InputError, match=r"config.json' cannot be loaded: .*python or yaml file"):
        load_config(str(path))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.max_iter=0", "train.max_iter must be an integer >= 1, got 0."),
        ("train.max_iter=abc", "train.max_iter must be an integer >= 1, got 'abc'."),
        (
            "train.eval_period=null",
            "train.eval_period must be an integer >= 0, got None.",
        ),
        (
            "train.checkpointer.period=0",
            "train.checkpointer.period must be an integer >= 1, got 0.",
        ),
        (
            "train.early_stopping=3",
            "train.early_stopping=3 sets nothing; write train.early_stopping.patience=3.",
        ),
        ("train.seed=-1", "train.seed must be an integer >= 0, got -1."),
        (
            "train.accumulate_steps=0",
            "train.accumulate_steps must be an integer >= 1, got 0.",
        ),
        (
            "train.reference_batch_size=1.5",
            "train.reference_batch_size must be an integer >= 1, or null (off), got 1.5.",
        ),
        (
            "train.early_stopping.patience=0",
            "train.early_stopping.patience must be an integer >= 1, or null (off), got 0.",
        ),
        ("train.clip_grad_norm=0", "train.clip_grad_norm must be above 0, or null (off), got 0."),
        (
            "train.ema.decay=1.0",
            "train.ema.decay must be above 0 and below 1, or null (off), got 1.0.",
        ),
        (
            "train.ema.decay=0",
            "train.ema.decay must be above 0 and below 1, or null (off), got 0.",
        ),
        (
            "train.ema.decay=high",
            "train.ema.decay must be above 0 and below 1, or null (off), got 'high'.",
        ),
        ("train.ema=0.9", "train.ema=0.9 sets nothing; write train.ema.decay=0.9."),
        (
            "train.curves=bbox/AP",
            "train.curves must be a list of metrics such as [bbox/AP], or null (off), got "
            "'bbox/AP'.",
        ),
        (
            "train.curves=[3]",
            "train.curves must be a list of metrics such as [bbox/AP], or null (off), got [3].",
        ),
        ("train.hooks=x", "train.hooks must be a list of hooks, or null (none), got 'x'."),
        ("train.best_metric_mode=low", "train.best_metric_mode must be max or min, got 'low'."),
    ],
)
def test_a_number_out_of_range_is_refused(override, expected):
    with pytest.raises(InputError) as caught:
        load_config(SHAPES, [override])
    assert str(caught.value) == expected


@pytest.mark.parametrize("value", ["plain/path-1", "with space, comma", "it's", "a=b", "[1"])
def test_a_text_written_as_an_override_comes_back_as_it_was(value):
    cfg = load_config(SHAPES, [as_override("train.output_dir", value)])
    assert cfg.train.output_dir == value


def test_stopping_early_without_evaluations_is_refused():
    with pytest.raises(InputError, match=r"train.eval_period=0 means none before the end; set a "):
        load_config(SHAPES, ["train.early_stopping.patience=3", "train.eval_period=0"])


def test_a_config_from_before_the_newer_keys_is_loaded(tmp_path):
    cfg = load_config(SHAPES)
    newer = ("accumulate_steps", "clip_grad_norm", "reference_batch_size", "best_metric_mode")
    for key in (*newer, "early_stopping", "ema", "curves"):
        del cfg.train[key]
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    assert load_config(str(tmp_path / "config.yaml")).train == cfg.train


def test_the_part_around_the_vit_is_found_in_a_detector():
    cfg = load_config(SHAPES)
    key, node = find_vit_owner(cfg)
    assert key == "model.backbone.net" and node is cfg.model.backbone.net


def test_the_part_around_the_vit_is_found_in_a_classifier_and_in_a_list():
    cfg = OmegaConf.create({"model": {"head": "${none}", "backbone": {"vit": {"embed_dim": 8}}}})
    assert find_vit_owner(cfg) == ("model.backbone", cfg.model.backbone)
    cfg = OmegaConf.create({"model": {"parts": [{"a": 1}, {"vit": {"embed_dim": 8}}]}})
    assert find_vit_owner(cfg) == ("model.parts.1", cfg.model.parts[1])


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ({"backbone": {"vit": None}}, "0"),
        ({"a": {"vit": {"b": 1}}, "c": {"vit": {"b": 1}}}, r"2 \(model.a, model.c\)"),
    ],
)
def test_a_model_with_no_vit_or_with_several_is_refused(model, found):
    with pytest.raises(InputError, match=rf"needs one part with a `vit`, but has {found}; the con"):
        find_vit_owner(OmegaConf.create({"model": model}))


@pytest.mark.parametrize("value", ["-1", "nan", ".nan", "inf", "fast", "true"])
@pytest.mark.parametrize("key", ["optimizer.lr", "optimizer.weight_decay"])
def test_a_rate_or_decay_that_is_no_number_from_0_on_is_refused(key, value):
    with pytest.raises(InputError, match=rf"^{key} must be a number >= 0, got "):
        load_config(SHAPES, [f"{key}={value}"])


@pytest.mark.parametrize("value", ["-1", "two", "1.5", "null"])
@pytest.mark.parametrize("loader", ["train", "test"])
def test_a_number_of_workers_that_is_none_is_refused(loader, value):
    key = f"dataloader.{loader}.num_workers"
    with pytest.raises(InputError, match=rf"^{key} must be an integer >= 0, got "):
        load_config(SHAPES, [f"{key}={value}"])


def test_a_malformed_yaml_config_is_one_line(tmp_path):
    (tmp_path / "config.yaml").write_text("train: {max_iter: 3\nmodel: [")
    with pytest.raises(InputError, match="config.yaml' cannot be loaded: ") as caught:
        load_config(str(tmp_path / "config.yaml"))
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_a_config_is_no_file():
    with pytest.raises(InputError, match="config file 'configs' is no file; .*coco/cascade"):
        load_config("configs")
