"""YAML configs are data: nothing in one is executed, and bombs are refused at once."""

import importlib
import os
import subprocess

import pytest
from detectron2.config import LazyConfig

from bpt_det.config.loading import load_config
from bpt_det.config.yaml_files import allowed_names, read_yaml_config
from bpt_det.utils.errors import InputError

update_targets = importlib.import_module("update_targets")

RUNS = "touch {}"  # what an attack would execute
ATTACKS = {
    "apply": "a: !!python/object/apply:os.system ['{0}']",
    "new": "a: !!python/object/new:os.system ['{0}']",
    "call of a class": "a: !!python/object/apply:subprocess.Popen [[sh, -c, '{0}']]",
    "module": "a: !!python/module:antigravity",
    "name": "a: !!python/name:os.system",
    "name of a local module": "a: !!python/name:evil_module.run",
    "target": "model: {{_target_: os.system, command: '{0}'}}",
    "target by name": "model: {{_target_: !!python/name:os.system , command: '{0}'}}",
    "target in a list": "a: [{{b: {{_target_: subprocess.run, args: '{0}'}}}}]",
    "target of a target": (
        "model: {{_target_: {{_target_: functools.partial, func: os.system}}, a: '{0}'}}"
    ),
    "class of torch that starts a program": (
        "model: {{_target_: torch.distributed.elastic.multiprocessing.subprocess_handler."
        "SubprocessHandler, entrypoint: '{0}'}}"
    ),
    "prefix of an allowed name": "model: {{_target_: torch.optim.AdamW.__init__}}",
    "referred target": "x: os.system\nmodel: {{_target_: '${{x}}', command: '{0}'}}",
    "made mapping": "model: ${{oc.create:{{_target_:os.system,command:'{0}'}}}}",
    "decoded mapping": "x: '{{_target_: os.system}}'\nmodel: ${{oc.decode:${{x}}}}",
    "named resolver": "x: oc.env\nmodel: ${{${{x}}:HOME}}",
    "secret": "model: ${{oc.env:HOME}}",
}
LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGES = "a0: &a0 {k: v}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 12)
)
BOMBS = {
    "billion laughs": (LAUGHS, "BPT_DET_MAX_CONFIG_NODES"),
    "merged mappings": (MERGES, "BPT_DET_MAX_CONFIG_NODES"),
    "alias of itself": ("a: &a [*a]", "alias of what it is in"),
    "depth": ("[" * 200_000, "nest"),
    "depth of mappings": ("a: " + "{a: " * 100_000, "nest"),
    "size": ("a: " + "x" * 2_000_000, "BPT_DET_MAX_CONFIG_BYTES"),
    "integer of 5,000 digits": ("a: " + "9" * 5000, "cannot be loaded"),
    "no text": ("a: \x00", "cannot be loaded"),
    "list": ("- a\n- b", "no mapping"),
    "nothing": ("", "no mapping"),
}


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_is_executed(name, write, tmp_path, monkeypatch):
    executed = tmp_path / "executed"
    (tmp_path / "evil_module.py").write_text(f"open({str(executed)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    path = write(ATTACKS[name].format(RUNS.format(executed)))
    with pytest.raises(InputError, match="config.yaml") as error:
        read_yaml_config(path)
    assert "\n" not in str(error.value)
    assert not executed.exists()


def test_the_refusal_names_the_ways_to_trust(write):
    path = write("model: {_target_: mine.models.Net}")
    with pytest.raises(InputError, match=r"'mine\.models\.Net' \(model\._target_\)") as error:
        read_yaml_config(path)
    for way in ("trust=['mine']", "BPT_DET_TRUST=mine"):
        assert way in str(error.value)


def test_a_trusted_package_may_be_named(write, monkeypatch):
    path = write("model: {_target_: mine.models.Net}\nother: {_target_: theirs.Net}")
    monkeypatch.setenv("BPT_DET_TRUST", " theirs, ")
    assert read_yaml_config(path, trust=["mine"]).model._target_ == "mine.models.Net"
    with pytest.raises(InputError, match=r"mine\.models"):
        read_yaml_config(path, trust=["min"])


def test_a_name_becomes_the_object(write):
    path = write("norm: !!python/name:subprocess.CompletedProcess ''")
    cfg = read_yaml_config(path, trust=["subprocess"])
    assert cfg.norm is subprocess.CompletedProcess


def test_a_name_that_does_not_exist_is_told(write):
    path = write("norm: !!python/name:subprocess.Nothing ''")
    with pytest.raises(InputError, match=r"'subprocess\.Nothing', which does not exist"):
        read_yaml_config(path, trust=["subprocess"])


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(name, write):
    text, fact = BOMBS[name]
    with pytest.raises(InputError, match=fact):
        read_yaml_config(write(text))


@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_what_is_no_regular_file_is_refused_without_reading_it(kind, tmp_path):
    path = tmp_path / "config.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is no regular file"):
        read_yaml_config(str(path))


def test_a_chain_of_aliases_that_is_too_deep_is_one_line(write):
    links = [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 400)]
    with pytest.raises(InputError, match="cannot be loaded: maximum recursion depth"):
        read_yaml_config(write("\n".join(["a0: &a0 [1]", *links])))


def test_a_limit_is_a_setting(write, monkeypatch):
    path = write("a: [1, 2, 3]")
    monkeypatch.setenv("BPT_DET_MAX_CONFIG_NODES", "5")
    with pytest.raises(InputError, match="6 values, more than the 5"):
        read_yaml_config(path)
    monkeypatch.setenv("BPT_DET_MAX_CONFIG_NODES", "6")
    assert read_yaml_config(path) == {"a": [1, 2, 3]}
    monkeypatch.setenv("BPT_DET_MAX_CONFIG_NODES", "many")
    with pytest.raises(InputError, match="BPT_DET_MAX_CONFIG_NODES must be an integer"):
        read_yaml_config(path)


def test_references_inside_a_config_stay(write):
    cfg = read_yaml_config(write("seed: 3\nmodel: {seed: '${seed}', next: '${.seed}'}"))
    assert cfg.model.next == 3


@pytest.mark.heavy
@pytest.mark.parametrize("base", ["coco/cascade", "imagenet", "shapes/cascade"])
def test_what_a_run_writes_is_read_again(base, tmp_path):
    cfg = load_config(base, ["method=bpt_s"])
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    LazyConfig.save(read_yaml_config(str(tmp_path / "config.yaml")), str(tmp_path / "b.yaml"))
    assert (tmp_path / "b.yaml").read_text() == (tmp_path / "config.yaml").read_text()


@pytest.mark.heavy
def test_the_list_holds_what_shipped_configs_name():
    listed = {update_targets.name_of_target(target) for target in update_targets.named_in_configs()}
    assert listed | set(update_targets.FORMER) <= allowed_names()


def test_the_list_holds_our_models_and_optimizers_and_nothing_general():
    names = allowed_names()
    assert {"bpt_det.prompts.BilinearPrompt", "torch.optim.SGD"} <= names
    assert not {name for name in names if name.startswith(("builtins", "functools", "os", "sub"))}
