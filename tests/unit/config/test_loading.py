"""Loading configs, overriding their keys, and the settings that are refused."""

import copy

import pytest
from detectron2.config import LazyConfig
from omegaconf import OmegaConf

import bpt_det
from bpt_det.config import load_config
from bpt_det.config.checks import check_config
from bpt_det.config.overrides import apply_overrides, as_override
from bpt_det.config.tree import find_vit_owner
from bpt_det.utils.errors import InputError
from bpt_det.vit import BACKBONES

SHAPES = "shapes/cascade_bpt_s"
DETECTOR, CLASSIFIER = "model.backbone.net.vit.checkpoint", "model.backbone.vit.checkpoint"


@pytest.fixture(scope="module")
def loaded():
    return load_config(SHAPES)


@pytest.fixture
def override(loaded):
    """Function that applies overrides to a loaded config and checks it, as loading does."""

    def apply(*overrides):
        cfg = apply_overrides(copy.deepcopy(loaded), overrides)
        check_config(cfg)
        return cfg

    return apply


def test_overrides_are_applied_when_a_config_is_loaded():
    cfg = load_config(SHAPES, ["dataloader.image_size=96", "train.max_iter=7"])
    assert cfg.model.backbone.square_pad == 96  # interpolates from it
    assert cfg.lr_multiplier.max_iter == 7


def test_an_override_reaches_into_lists(override):
    cfg = override("dataloader.train.mapper.augmentations.1.max_scale=1.5")
    assert cfg.dataloader.train.mapper.augmentations[1].max_scale == 1.5
    assert cfg.dataloader.train.mapper.augmentations[1].min_scale == 0.8


def test_an_override_may_set_a_key_that_is_none_and_add_one_on_purpose(override):
    cfg = override(
        "train.prompt_statistics=some/file.safetensors", "+model.backbone.net.vit.mlp_ratio=3"
    )
    assert cfg.train.prompt_statistics == "some/file.safetensors"
    assert cfg.model.backbone.net.vit.mlp_ratio == 3


@pytest.mark.parametrize(
    "value", ["plain/path-1", "with space, comma", "~/a", "null", "[a]", "it's", "a=b", "[1"]
)
def test_a_text_written_as_an_override_comes_back_as_it_was(value, override):
    assert override(as_override("train.output_dir", value)).train.output_dir == value


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("train.max_itr=10", "train.max_iter"),
        ("optimizer.learning_rate=1", "optimizer."),
        ("dataloader.train.mapper.augmentations.9.max_scale=1", "augmentations.1.max_scale"),
        ("model.backbone.net.promt.rank=5", "model.backbone.net.prompt.rank"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(text, nearest, override):
    key, value = text.split("=")
    with pytest.raises(InputError, match=f"no key '{key}'; did you mean '.*{nearest}") as caught:
        override(text)
    assert f"'+{key}={value}'" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("train.max_iter", "key=value"),
        ("=3", "key=value"),
        ("--resum", "key=value"),
        ("train.max_iter=[1", "cannot be parsed; quote the value"),
        ("model.backbone.net.placement=0,3", r"list in brackets, as in key=\[0,3\]"),
        ("+dataloader.train.mapper.augmentations.x=1", "cannot be applied .*int"),
        ("+~train.seed=1", "cannot be applied .*deletion"),
    ],
)
def test_a_malformed_override_is_refused_in_one_line(text, facts, override):
    with pytest.raises(InputError, match=facts) as caught:
        override(text)
    assert f"override '{text}'" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("", "no config given; .*coco/cascade.*fgvc/cub"),
        ("coco/no.py", "'coco/no.py' does not exist; .*fgvc/cub"),
    ],
)
def test_a_config_that_is_not_there_is_refused_with_those_that_are(name, facts):
    with pytest.raises(InputError, match=facts):
        load_config(name)


@pytest.mark.parametrize(
    ("name", "content", "facts"),
    [
        ("broken.py", "model = {\n", r"broken.py' is not valid Python: '\{' was never closed"),
        ("config.json", "{}", "config.json' cannot be loaded: .*python or yaml file"),
        ("config.yaml", "train: {max_iter: 3\nmodel: [", "config.yaml' cannot be loaded: "),
        (
            *("half.py", "model = {}\ntrain = {}\n"),
            r"half.py' lacks dataloader.train, .*train.output_dir, .*train.ddp",
        ),
    ],
)
def test_a_file_that_is_no_config_is_refused_in_one_line(name, content, facts, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=facts) as caught:
        load_config(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_a_config_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"'{tmp_path}' is no file"):
        load_config(str(tmp_path))


OFF = r", or null \(off\)"
METRICS = rf"a list of metrics such as \[bbox/AP\]{OFF}"


@pytest.mark.parametrize(
    ("text", "allowed", "shown"),
    [
        ("train.max_iter=0", "an integer >= 1", "0"),
        ("train.max_iter=true", "an integer >= 1", "True"),
        ("train.max_iter=abc", "an integer >= 1", "'abc'"),
        ("train.eval_period=null", "an integer >= 0", "None"),
        ("train.checkpointer.period=0", "an integer >= 1", "0"),
        ("train.seed=-1", "an integer >= 0", "-1"),
        ("train.accumulate_steps=0", "an integer >= 1", "0"),
        ("train.reference_batch_size=1.5", f"an integer >= 1{OFF}", "1.5"),
        ("train.early_stopping.patience=0", f"an integer >= 1{OFF}", "0"),
        ("train.clip_grad_norm=0", f"above 0{OFF}", "0"),
        ("train.ema.decay=1.0", f"above 0 and below 1{OFF}", "1.0"),
        ("train.ema.decay=0", f"above 0 and below 1{OFF}", "0"),
        ("train.ema.decay=high", f"above 0 and below 1{OFF}", "'high'"),
        ("train.curves=bbox/AP", METRICS, "'bbox/AP'"),
        ("train.curves=[3]", METRICS, r"\[3\]"),
        ("train.hooks=x", r"a list of hooks, or null \(none\)", "'x'"),
        ("train.best_metric_mode=low", "max or min", "'low'"),
        ("optimizer.lr=-1", "a number >= 0", "-1"),
        ("optimizer.lr=nan", "a number >= 0", "nan"),
        ("optimizer.lr=.nan", "a number >= 0", "'.nan'"),
        ("optimizer.lr=inf", "a number >= 0", "inf"),
        ("optimizer.lr=true", "a number >= 0", "True"),
        ("optimizer.weight_decay=fast", "a number >= 0", "'fast'"),
        ("dataloader.train.num_workers=-1", "an integer >= 0", "-1"),
        ("dataloader.train.num_workers=1.5", "an integer >= 0", "1.5"),
        ("dataloader.test.num_workers=two", "an integer >= 0", "'two'"),
        ("dataloader.test.num_workers=null", "an integer >= 0", "None"),
    ],
)
def test_a_setting_out_of_range_is_refused(text, allowed, shown, override):
    key = text.partition("=")[0]
    with pytest.raises(InputError, match=rf"^{key} must be {allowed}, got {shown}\.$"):
        override(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("train.early_stopping=3", "train.early_stopping.patience=3"),
        ("train.ema=0.9", "train.ema.decay=0.9"),
    ],
)
def test_a_number_in_place_of_a_mapping_is_refused_with_the_key_that_takes_it(
    text, meant, override
):
    with pytest.raises(InputError, match=f"^{text} sets nothing; write {meant}"):
        override(text)


def test_stopping_early_without_evaluations_is_refused(override):
    with pytest.raises(InputError, match="early_stopping.patience .*train.eval_period=0 .*period"):
        override("train.early_stopping.patience=3", "train.eval_period=0")


def test_optional_settings_may_be_missing(loaded, tmp_path):
    cfg = copy.deepcopy(loaded)
    optional = ("accumulate_steps", "clip_grad_norm", "reference_batch_size", "best_metric_mode")
    for key in (*optional, "early_stopping", "ema", "curves"):
        del cfg.train[key]
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    assert load_config(str(tmp_path / "config.yaml")).train == cfg.train


def test_the_part_around_the_vit_is_found(loaded):
    key, node = find_vit_owner(loaded)
    assert key == "model.backbone.net" and node is loaded.model.backbone.net
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
    with pytest.raises(InputError, match=rf"one part with a `vit`, but has {found};"):
        find_vit_owner(OmegaConf.create({"model": model}))


def test_overrides_of_get_config_are_texts():
    assert bpt_det.get_config("shapes/cascade", "method=vpt_s", "train.seed=3").train.seed == 3
    with pytest.raises(InputError, match=r"\['method=vpt_s'\]"):
        bpt_det.get_config("shapes/cascade", ["method=vpt_s"])


def test_naming_a_network_of_timms_sets_its_sizes_and_the_normalization_of_its_images():
    cfg = load_config(
        "coco/cascade", ["method=bpt_s", f"{DETECTOR}=timm:vit_small_patch14_reg4_dinov2.lvd142m"]
    )
    vit = cfg.model.backbone.net.vit
    assert (vit.embed_dim, vit.num_blocks, vit.num_heads) == (384, 12, 6)
    assert (vit.patch_size, vit.pretrained_patch_size) == (16, 14)  # as the pyramid needs them
    assert cfg.model.backbone.net.prompt.embed_dim == 384
    assert vit.architecture == "vit_small_patch14_reg4_dinov2"
    cfg = load_config(
        "fgvc/cub", ["method=bpt_s", f"{CLASSIFIER}=timm:eva02_tiny_patch14_224.mim_in22k"]
    )
    assert (cfg.model.backbone.vit.patch_size, cfg.model.backbone.vit.embed_dim) == (14, 192)
    assert list(cfg.model.pixel_mean) == [122.771, 116.746, 104.094]
    assert list(cfg.model.pixel_std) == [68.501, 66.632, 70.323]


def test_what_is_typed_beside_the_name_of_a_network_stays():
    mean, sizes = "model.pixel_mean=[1,2,3]", "model.backbone.vit.embed_dim=768"
    name = f"{CLASSIFIER}=timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    cfg = load_config("fgvc/cub", ["method=bpt_s", mean, sizes, name])
    assert list(cfg.model.pixel_mean) == [1, 2, 3] and cfg.model.pixel_std[0] == 127.5
    assert cfg.model.backbone.vit.embed_dim == 768  # building says that it is 192


def test_a_saved_config_keeps_the_normalization_that_a_run_was_trained_with(tmp_path, caplog):
    name = "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    cfg = load_config(
        "fgvc/cub", ["method=bpt_s", "model.pixel_mean=[1,2,3]", f"{CLASSIFIER}={name}"]
    )
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    saved = load_config(str(tmp_path / "config.yaml"))
    assert list(saved.model.pixel_mean) == [1, 2, 3]
    assert f"model.pixel_mean is [1, 2, 3], but '{name}' was trained with [127.5, " in caplog.text


@pytest.mark.parametrize("name", BACKBONES)
def test_a_detector_takes_a_backbone_by_its_short_name(name):
    cfg = load_config("coco/cascade", ["method=bpt_d", f"vit={name}"])
    row, net = BACKBONES[name], cfg.model.backbone.net
    assert (net.vit.checkpoint, net.final_norm) == (f"timm:{row.timm_name}", row.final_norm)
    assert net.vit.patch_size == 16 and net.prompt.embed_dim == row.embed_dim
    assert list(cfg.model.pixel_mean) == row.pixel_mean
    assert cfg.train.output_dir == f"output/coco/cascade_bpt_d_{name}"


def test_an_unknown_backbone_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="vit=dinov3_bb: .* did you mean dinov3_b?"):
        load_config("coco/cascade", ["vit=dinov3_bb"])
