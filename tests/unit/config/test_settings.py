"""Settings of a command line, each with its right outcome: a value, or a line with its key."""

import copy
import os

import pytest
from omegaconf import OmegaConf

from bpt_det.config import load_config
from bpt_det.config.checks import check_config
from bpt_det.config.overrides import apply_overrides, as_override, check_references
from bpt_det.utils.errors import InputError

VIT = "model.backbone.net.vit"
PROMPT = "model.backbone.net.prompt"


@pytest.fixture(scope="module")
def loaded():
    return load_config("coco/cascade", ["method=bpt_s"])


@pytest.fixture(scope="module")
def classifier():
    return load_config("imagenet", ["method=bpt_s"])


@pytest.fixture
def override(loaded):
    def apply(*overrides, cfg=loaded):
        cfg = apply_overrides(copy.deepcopy(cfg), overrides)
        check_references(cfg)
        check_config(cfg)
        return cfg

    return apply


# Values that stay as they are in a key that holds text.
TEXTS = [
    "20261128_1200", "1e3", "true", "False", "007", "1_000", "nan", "inf", "-1", "3.0", "on",
    "a b", "a (1)", "a (1)/b.json", "a,b", "a=b", "a@b", "a#b", "a:b", "a;b", "a&b", "a'b", 'a"b',
    "C:\\runs\\a", "C:/runs/a", "ü/ö", "日本語", "*", "a|b", "$HOME", "%20", "{x}", "[1", "!x",
    "a\\b", "~", "\udcff", "a\udcffb", "-", "--x", "a?b", "<a>", "`a`", ".", "/a//b/../c",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("key", ["train.output_dir", f"{VIT}.checkpoint", "data.train"])
def test_text_stays_text(key, text, override):
    expected = os.path.expanduser(text) if text == "~" else text
    assert OmegaConf.select(override(f"{key}={text}"), key) == expected


@pytest.mark.parametrize("text", ["007", "1e3", "true", "a (1)", "a,b", "null"])
def test_text_stays_text_in_keys_that_hold_no_path(text, override):
    cfg = apply_overrides(OmegaConf.create({"note": "x", "list": ["a"]}), [f"note={text}"])
    assert cfg.note == text
    assert apply_overrides(cfg, [f"list.0={text}"]).list[0] == text


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_is_written_as_an_override_is_read_again(text):
    cfg = OmegaConf.create({"note": "x"})
    assert apply_overrides(cfg, [as_override("note", text)]).note == text


OUTCOMES = {
    # null is no text where nothing is allowed
    "data.train=null": None,
    "train.init_checkpoint=null": None,
    "train.prompt_statistics=null": None,
    f"{VIT}.checkpoint=null": None,
    "train.output_dir=null": "null",
    # quotes, as before
    "train.output_dir='a, b'": "a, b",
    'train.output_dir="null"': "null",
    r"train.output_dir='it\'s'": "it's",
    # the home folder
    "train.output_dir=~/runs": os.path.expanduser("~/runs"),
    "data.val=~/a.json:~/images": ":".join(map(os.path.expanduser, ("~/a.json", "~/images"))),
    # references
    "train.output_dir=runs/${train.seed}": "runs/0",
    # lists
    "data.train=[a.json:x,b.json:y]": ["a.json:x", "b.json:y"],
    "train.curves=[bbox/AP,segm/AP]": ["bbox/AP", "segm/AP"],
    "train.curves=[]": [],
    "model.backbone.net.placement=[0,3]": [0, 3],
    "model.backbone.net.placement=last_4": "last_4",
    # numbers and switches
    "train.max_iter=1_000": 1000,
    "optimizer.lr=1e-3": 1e-3,
    "optimizer.lr=1": 1,
    f"{VIT}.drop_path_rate=0": 0,
    "train.cudnn_benchmark=true": True,
    "train.clip_grad_norm=null": None,
    # new keys that something reads
    f"+{VIT}.mlp_ratio=3": 3,
    "+train.note=${train.seed}": InputError,
    "+dataloader.final_test=null": None,
}


@pytest.mark.parametrize("setting", OUTCOMES)
def test_a_setting_becomes_its_value(setting, override):
    expected, key = OUTCOMES[setting], setting.partition("=")[0].lstrip("+")
    if expected is InputError:
        with pytest.raises(InputError):
            override(setting)
        return
    assert OmegaConf.select(override(setting), key) == expected


REFUSED = {
    # keys that nothing reads
    "+train.passes=1": "nothing reads the key 'train.passes'",
    "+train.note=hello": "nothing reads the key 'train.note'",
    "+seed=1": "nothing reads the key 'seed'",  # though references end in .seed
    "+data.anything=1": "nothing reads the key 'data.anything'",
    "+model.backbone.nonsense.x=1": "nonsense is no argument of what model.backbone builds",
    "+batch_size=3": "nothing reads the key 'batch_size'",
    "+solver.lr=3": "nothing reads the key 'solver.lr'",
    "+dataloader.size=3": "nothing reads the key 'dataloader.size'",
    f"+{VIT}.depth=3": f"depth is no argument of what {VIT} builds",
    f"+{PROMPT}.length=3": f"length is no argument of what {PROMPT} builds",
    "+model.backbone.norm=LN": "norm is no argument of what model.backbone builds",
    "++train.passes=1": "nothing reads",
    "train.passes=1": "no key 'train.passes'",
    # references
    "train.output_dir=${X}": r"train.output_dir=\$\{X\} refers to what .*'X' not found",
    "train.output_dir=a/${train.nothing}/b": "refers to what .*train.nothing",
    "train.seed=${train.seed}": "train.seed=.* refers to",
    "model=null": "refers to what .*model.roi_heads",
    # what is built stays that
    "model=3": "model is built from settings of its own, and 3 is none; write model=null",
    "optimizer=adam": "optimizer is built from .* 'adam' is none",
    "dataloader.evaluator=None": "write dataloader.evaluator=null to leave it out",
    # numbers
    f"{PROMPT}.prompt_length=0": f"{PROMPT}.prompt_length must be an integer >= 1, got 0",
    f"{PROMPT}.prompt_length=-5": f"{PROMPT}.prompt_length must be",
    f"{PROMPT}.prompt_length=2.5": f"{PROMPT}.prompt_length must be an integer",
    f"{PROMPT}.prompt_length=many": f"{PROMPT}.prompt_length must be an integer",
    f"{PROMPT}.prompt_length=null": f"{PROMPT}.prompt_length must be an integer",
    f"{PROMPT}.prompt_length=[5]": f"{PROMPT}.prompt_length must be an integer",
    f"{PROMPT}.rank=0": f"{PROMPT}.rank must be an integer >= 1, got 0",
    f"{PROMPT}.rank=1000": rf"{PROMPT}.rank must be in \[1, embed_dim=768\], got 1000",
    f"{PROMPT}.rank=nan": f"{PROMPT}.rank must be",
    f"{VIT}.embed_dim=0": f"{VIT}.embed_dim must be",
    f"{VIT}.embed_dim=770": f"{VIT}.embed_dim=770 is not a multiple of {VIT}.num_heads=12",
    f"{VIT}.num_heads=7": f"{VIT}.embed_dim=768 is not a multiple of {VIT}.num_heads=7",
    f"{VIT}.num_heads=0": f"{VIT}.num_heads must be",
    f"{VIT}.num_blocks=0": f"{VIT}.num_blocks must be",
    f"{VIT}.num_blocks=twelve": f"{VIT}.num_blocks must be",
    f"{VIT}.patch_size=0": f"{VIT}.patch_size must be",
    f"{VIT}.patch_size=-16": f"{VIT}.patch_size must be",
    f"{VIT}.pretrain_size=0": f"{VIT}.pretrain_size must be",
    f"{VIT}.pretrained_patch_size=a": f"{VIT}.pretrained_patch_size must be an integer or null",
    f"{VIT}.drop_path_rate=1": rf"{VIT}.drop_path_rate must be in \[0, 1\), got 1",
    f"{VIT}.drop_path_rate=-0.1": f"{VIT}.drop_path_rate must be",
    f"{VIT}.drop_path_rate=nan": f"{VIT}.drop_path_rate must be",
    f"{VIT}.drop_path_rate=high": f"{VIT}.drop_path_rate must be",
    f"{VIT}.drop_path_rate=true": f"{VIT}.drop_path_rate must be",
    f"{VIT}.checkpoint=[a]": f"{VIT}.checkpoint must be a text or null",
    "+model.backbone.net.prompt_dropout=0": "prompt_dropout is no argument of what model.backbone",
    "+model.backbone.net.frozen=maybe": "model.backbone.net.frozen must be true or false",
    "model.roi_heads.num_classes=0": "model.roi_heads.num_classes must be",
    "model.roi_heads.num_classes=two": "model.roi_heads.num_classes must be",
    "dataloader.image_size=0": "dataloader.image_size must be an integer >= 1, got 0",
    "dataloader.image_size=-96": "dataloader.image_size must be",
    "dataloader.image_size=big": "dataloader.image_size must be",
    "dataloader.train.total_batch_size=0": "dataloader.train.total_batch_size must be",
    "dataloader.train.total_batch_size=1.5": "dataloader.train.total_batch_size must be",
    "dataloader.train.total_batch_size=null": "dataloader.train.total_batch_size must be",
    "+dataloader.test.batch_size=0": "dataloader.test.batch_size must be",
    "dataloader.train.num_workers=-1": "dataloader.train.num_workers must be",
    "optimizer.lr=-1": "optimizer.lr must be",
    "optimizer.lr=nan": "optimizer.lr must be",
    "optimizer.lr=fast": "optimizer.lr must be",
    "optimizer.weight_decay=-0.1": "optimizer.weight_decay must be",
    "train.max_iter=0": "train.max_iter must be",
    "train.max_iter=1e3": "train.max_iter must be an integer",
    "train.max_iter='100'": "train.max_iter must be an integer",
    "train.eval_period=-1": "train.eval_period must be",
    "train.checkpointer.period=0": "train.checkpointer.period must be",
    "train.log_period=0": "train.log_period must be",
    "train.seed=-1": "train.seed must be",
    "train.seed=random": "train.seed must be",
    "train.clip_grad_norm=-1": "train.clip_grad_norm must be",
    "train.clip_grad_norm=nan": "train.clip_grad_norm must be",
    "train.peer_timeout=0": "train.peer_timeout must be a positive number of seconds",
    "train.peer_timeout=null": "train.peer_timeout must be",
    "train.peer_timeout=1m": "train.peer_timeout must be",
    "train.ema.decay=1": "train.ema.decay must be",
    "train.best_metric_mode=best": "train.best_metric_mode must be",
    "train.final_weights=first": "train.final_weights must be",
    "train.curves=3": "train.curves must be",
    # texts
    "train.output_dir=": "train.output_dir must be",
    "train.output_dir=[a]": "train.output_dir must be",
    "train.device=": "train.device must be",
    "train.precision=half": "train.precision must be",
    # grammar
    "train.max_iter": "key=value",
    "=3": "key=value",
    "train.max_iter=[1": "cannot be parsed",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_a_setting_is_refused_by_its_whole_key_in_one_line(setting, override):
    with pytest.raises(InputError, match=REFUSED[setting]) as caught:
        override(setting)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "facts"),
    [
        ("model.pooling=null", None),
        ("model.backbone.placement=[a", None),
        ("dataloader.root=/data/a (1), 007", None),
        ("dataloader.cache_dir=1e3", None),
        ("+model.backbone.prompt_dropout=1", r"model.backbone.prompt_dropout must be in \[0, 1\)"),
        ("model.backbone.vit.embed_dim=0", "model.backbone.vit.embed_dim must be"),
        ("dataloader.test.batch_size=0", "dataloader.test.batch_size must be"),
        ("dataloader.final_test=None", "write dataloader.final_test=null to leave it out"),
    ],
)
def test_settings_of_a_classifier(setting, facts, override, classifier):
    if facts is None:
        key, _, value = setting.partition("=")
        assert OmegaConf.select(override(setting, cfg=classifier), key) == value
        return
    with pytest.raises(InputError, match=facts):
        override(setting, cfg=classifier)


def test_a_new_key_that_another_one_refers_to_is_read(override):
    cfg = override("+mine.size=96", "dataloader.image_size=${mine.size}")
    assert cfg.model.backbone.square_pad == 96


def test_a_short_name_of_data_is_no_broken_reference():
    assert load_config("shapes/mae_micro", ["data=/a b/c (1)"]).data == "/a b/c (1)"
