"""Next steps after an error: the key of the config and the command."""

import ast
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator

import pytest
from omegaconf import OmegaConf

from bpt_det.cli.hints import HINTS, explain, find_keys
from bpt_det.utils.errors import InputError
from tests.support.paths import ROOT

CONFIG = "shapes/cascade"


def arguments(*opts):
    return Namespace(config_file=CONFIG, opts=list(opts))


def test_an_error_without_parameter_and_hint_stays_as_it_is():
    assert explain(InputError("no such file"), arguments()) == "no such file"


def test_the_key_of_the_parameter_at_fault_is_named():
    error = InputError("rank must be in [1, 96], got 97.", parameter="rank")
    text = explain(error, arguments("method=bpt_s"))
    assert text == f"{error} Config key: model.backbone.net.prompt.rank."
    assert explain(error, Namespace()) == str(error)  # a command without a config


def test_keys_that_refer_to_another_one_count_only_where_there_is_no_other():
    cfg = OmegaConf.create({"vit": {"size": 3}, "prompt": {"size": "${..vit.size}"}})
    assert find_keys(cfg, "size") == ["vit.size"]
    assert find_keys(OmegaConf.create({"a": {"b": "${c}"}, "c": 1}), "b") == ["c"]
    several = OmegaConf.create({"loaders": [{"seed": 1}, {"seed": 2}], "seed": None})
    assert find_keys(several, "seed") == ["loaders.0.seed", "loaders.1.seed", "seed"]
    assert find_keys(several, "see") == []


@pytest.mark.parametrize(
    ("text", "parameter", "facts"),
    [
        (
            "'timm:x' has embed_dim=384, not 768; set embed_dim=384 num_heads=6.",
            "checkpoint",
            "has embed_dim=384, not 768; set model.backbone.net.vit.embed_dim=384 "
            "model.backbone.net.vit.num_heads=6. Config key: model.backbone.net.vit.checkpoint.",
        ),
        (
            "square_pad must be a multiple of 32, got 100.",
            "square_pad",
            "dataloader.image_size must be a multiple of 32, got 100. "
            "Config key: dataloader.image_size.",
        ),
        (
            "embed_dim=30 is not a multiple of num_heads=4.",
            "embed_dim",
            "embed_dim=30 is not a multiple of num_heads=4. "
            "Config key: model.backbone.net.vit.embed_dim.",
        ),
    ],
)
def test_keys_are_printed_whole_as_a_user_sets_them(text, parameter, facts):
    assert explain(InputError(text, parameter=parameter), arguments("method=bpt_s")).endswith(facts)


def test_weights_are_set_under_the_key_of_the_config():
    error = InputError("no weights at 'a.pth'.", parameter="checkpoint", hint="weights")
    text = explain(error, arguments("method=bpt_s"))
    assert text.endswith("pass model.backbone.net.vit.checkpoint=PATH.")


def test_missing_statistics_end_with_a_command_that_collects_them(tmp_path):
    path = f"{tmp_path}/my data, 2/spt.safetensors"
    opts = ["method=spt_s", f"train.prompt_statistics='{path}'"]
    error = InputError(f"token statistics '{path}' do not exist", hint="collect_statistics")
    text = explain(error, arguments(*opts))
    facts, _, command = text.partition(". Collect them: ")
    assert facts == str(error)
    assert shlex.split(command) == ["bpt-det", "stats", "--config-file", CONFIG, *opts]


def test_statistics_without_a_file_are_given_one_in_both_commands():
    error = InputError("prompts need statistics", hint="collect_statistics")
    opts = ["method=spt_s", "train.prompt_statistics=null"]
    text = explain(error, arguments(*opts))
    setting = "train.prompt_statistics=statistics/cascade.safetensors"
    assert f"Add {setting} to this command too, and collect them: " in text
    assert text.endswith(f"method=spt_s train.prompt_statistics=null {setting}")


def test_statistics_that_do_not_fit_are_to_be_deleted_first(tmp_path):
    path = tmp_path / "spt.safetensors"
    path.touch()
    error = InputError("of another ViT", hint="collect_statistics")
    text = explain(error, arguments(f"train.prompt_statistics={path}"))
    assert "Delete that file or name another with train.prompt_statistics=FILE, and c" in text


def test_a_config_that_cannot_be_loaded_leaves_the_command():
    error = InputError("faults", hint="check_dataset", parameter="names")
    text = explain(error, Namespace(config_file="none.py", opts=[]))
    assert text == "faults. bpt-det check lists all faults of a dataset."


def test_without_a_config_the_command_that_collects_statistics_leaves_the_file_open():
    error = InputError("prompts need statistics", hint="collect_statistics")
    text = explain(error, Namespace())
    assert text == f"{error}. Collect them: bpt-det stats --config-file FILE"


def test_a_command_is_named_as_this_one_was_called(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tools/train_net.py"])
    text = explain(InputError("faults", hint="check_dataset"), Namespace())
    assert "python tools/check_dataset.py lists all faults" in text


def hints_in_the_package() -> Iterator[str]:
    for path in sorted((ROOT / "bpt_det").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                if isinstance(node.value, ast.Constant) and node.value.value is not None:
                    yield node.value.value


@pytest.mark.parametrize("hint", sorted(set(hints_in_the_package())))
def test_every_hint_has_a_next_step(hint):
    assert hint in HINTS


@pytest.mark.parametrize(
    ("reference", "key"),
    [
        ("${data.size}", "data.size"),
        ("${.other}", "data.size"),
        ("${..sizes.height}", "sizes.height"),
        ("${absent}", "model.side"),
        ("a${data.size}", "model.side"),
        ("${model.side}", "model.side"),
    ],
)
def test_a_key_that_refers_to_another_is_shown_as_what_can_be_set(reference, key):
    model = {"side": reference, "other": "${data.size}"}
    cfg = OmegaConf.create({"data": {"size": 7}, "sizes": {"height": 3}, "model": model})
    assert find_keys(cfg, "side") == [key]
