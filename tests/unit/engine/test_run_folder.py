"""Folder of a run: the lock, where to go on from, and what is kept of an earlier part."""

import json
import logging
import os
import subprocess
import sys

import pytest
import torch

from bpt_det.engine import run_folder as module
from bpt_det.engine.run_folder import find_checkpoint, last_checkpoint, run_folder
from bpt_det.utils.errors import InputError


def save(folder, name, iteration):
    state = {"iteration": iteration, "optimizer": {}}
    content = {"model": {"w": torch.arange(999.0)}, "frozen": {}, "trainer": state}
    torch.save(content, folder / f"{name}.pth")
    return folder / f"{name}.pth"


@pytest.fixture
def folder(tmp_path):
    """A run of two checkpoints, whose last one is named."""
    for iteration in (9, 19):
        save(tmp_path, f"model_{iteration:07d}", iteration)
    (tmp_path / "last_checkpoint").write_text("model_0000019.pth")
    return tmp_path


def test_a_new_folder_is_made_and_left_empty(tmp_path):
    with run_folder(tmp_path / "a/b", resume=False) as start:
        assert start is None
    assert list((tmp_path / "a/b").iterdir()) == []


@pytest.mark.parametrize("trace", ["model_final.pth", "metrics.json", "last_checkpoint"])
def test_a_folder_that_holds_a_run_is_refused_unless_it_is_resumed(tmp_path, trace):
    (tmp_path / trace).write_text("x")
    with pytest.raises(InputError, match=rf"already holds a run \({trace}\)") as refused:
        with run_folder(tmp_path, resume=False):
            pass
    assert refused.value.hint == "resume"
    assert [path.name for path in tmp_path.iterdir()] == [trace]


def test_a_run_that_ended_before_its_first_iteration_left_nothing_worth_keeping(tmp_path):
    for name in ("metrics.json", "config.yaml", "log.txt"):
        (tmp_path / name).touch()
    with run_folder(tmp_path, resume=False):
        pass


def test_remains_of_killed_writes_are_removed_and_other_files_are_not(folder):
    remains = [".model_0000029.pth.partial", ".writable.4711", "inference/.a.json.partial"]
    (folder / "inference").mkdir()
    for name in [*remains, ".mine", "notes.partial"]:
        (folder / name).touch()
    with run_folder(folder, resume=True):
        assert not any((folder / name).exists() for name in remains)
        assert (folder / ".mine").exists() and (folder / "notes.partial").exists()


def test_a_run_goes_on_from_the_checkpoint_that_is_named(folder):
    (folder / "last_checkpoint").write_text("model_0000009.pth\n")
    assert find_checkpoint(folder) == folder / "model_0000009.pth"


@pytest.mark.parametrize(
    "tag",
    [
        None,
        "",
        "model_0000099.pth",
        "../x.pth",
        "/etc/passwd",
        ".",
        "model\0.pth",
        "\x93\xff",
        "a/" * 9999,
    ],
)
def test_without_a_usable_name_the_newest_checkpoint_is_taken_and_named(folder, tag, caplog):
    path = folder / "last_checkpoint"
    path.unlink() if tag is None else path.write_bytes(tag.encode("latin-1"))
    save(folder, "model_best", 19)
    assert find_checkpoint(folder) == folder / "model_0000019.pth"
    assert "going on from '" in caplog.text and "model_0000019.pth' (iteration 19)" in caplog.text


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "flipped byte":
        position = content.index(torch.arange(999.0).numpy().tobytes()[400:480]) + 3
        content[position] ^= 4
    elif how == "zeroed":
        content = bytes(len(content))
    elif how == "truncated":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = b""
    path.write_bytes(content)


DAMAGES = ["flipped byte", "zeroed", "truncated", "empty"]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_last_checkpoint_is_told_and_the_one_before_is_taken(folder, how, caplog):
    damage(folder / "model_0000019.pth", how)
    assert find_checkpoint(folder) == folder / "model_0000009.pth"
    (line,) = [record.message for record in caplog.records if record.name == module.__name__]
    assert "model_0000019.pth'" in line and line.endswith("model_0000009.pth' (iteration 9)")


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_weights_are_never_loaded(folder, how):
    path = folder / "model_0000019.pth"
    damage(path, how)
    with pytest.raises(InputError, match="model_0000019.pth'"):
        module.read_resumable(path)


def set_content(path, key, value):
    content = torch.load(path, weights_only=True)
    if value is None:
        del content[key]
    else:
        content[key] = value
    torch.save(content, path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trainer", None),
        ("trainer", [1, 2]),
        ("trainer", {"iteration": "19", "optimizer": {}}),
        ("trainer", {"iteration": 19}),
        ("model", {"w": "text"}),
        ("model", [torch.ones(3)]),
        ("frozen", 3),
        ("class_names", [1, 2]),
        ("settings", "x"),
    ],
)
def test_a_last_checkpoint_of_odd_contents_is_told_and_the_one_before_is_taken(
    folder, key, value, caplog
):
    set_content(folder / "model_0000019.pth", key, value)
    assert find_checkpoint(folder) == folder / "model_0000009.pth"
    assert "model_0000019.pth'" in caplog.text


def test_the_best_checkpoint_is_the_last_resort(folder):
    for path in [*folder.glob("model_0*.pth"), folder / "last_checkpoint"]:
        path.unlink()
    assert find_checkpoint(folder) is None
    save(folder, "model_best", 14)
    assert find_checkpoint(folder) == folder / "model_best.pth"


def test_what_is_there_without_a_readable_checkpoint_is_kept_under_another_name(folder, caplog):
    for path in folder.glob("*.pth"):
        damage(path, "zeroed")
    (folder / "metrics.json").write_text('{"iteration": 3}\n')
    (folder / "test").mkdir()
    (folder / "test/predictions.csv").write_text("a,b\n")
    before = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with run_folder(folder, resume=True) as start:
        assert start is None
        assert {path.name for path in folder.iterdir()} == {"earlier_1", "run.lock"}
    kept = folder / "earlier_1"
    assert {p.relative_to(kept): p.read_bytes() for p in kept.rglob("*") if p.is_file()} == before
    assert f"what was there is kept in '{kept}'" in caplog.text
    (folder / "metrics.json").write_text('{"iteration": 4}\n')
    with run_folder(folder, resume=True):
        pass
    assert (folder / "earlier_2/metrics.json").is_file() and (kept / "metrics.json").is_file()


def test_a_checkpoint_to_evaluate_needs_no_state_of_a_run(folder):
    set_content(folder / "model_0000019.pth", "trainer", None)
    assert last_checkpoint(folder) == str(folder / "model_0000019.pth")
    with pytest.raises(InputError, match="no checkpoint to load"):
        last_checkpoint(folder / "nowhere")


HOLD = """
import sys, time
from bpt_det.engine.run_folder import run_folder
with run_folder(sys.argv[1], resume=False):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def held(tmp_path):
    """A folder that another process holds, and that process."""
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield tmp_path, process
    process.kill()
    process.wait()


@pytest.mark.heavy
def test_a_folder_has_one_run_at_a_time_and_the_lock_of_a_dead_one_is_taken(held, caplog):
    folder, process = held
    with pytest.raises(InputError, match=rf"another run writes .*: process {process.pid} on "):
        with run_folder(folder, resume=True):
            pass
    process.kill()
    process.wait()
    with run_folder(folder, resume=True):
        assert json.loads((folder / "run.lock").read_text())["pid"] == os.getpid()
    assert f"taking over the lock of a run that has ended: process {process.pid}" in caplog.text
    assert not (folder / "run.lock").exists()


@pytest.fixture
def of_another_machine(tmp_path, monkeypatch):
    owner = {"host": "node7", "pid": 12, "machine": "another start of another machine"}
    (tmp_path / "run.lock").write_text(json.dumps(owner))
    monkeypatch.setattr(module, "_SILENCE", 0.2)
    return tmp_path


def test_the_lock_of_a_silent_run_on_another_machine_is_taken(of_another_machine, caplog):
    with run_folder(of_another_machine, resume=True):
        assert json.loads((of_another_machine / "run.lock").read_text())["pid"] == os.getpid()
    assert "taking over the lock of a run that has ended: process 12 on node7" in caplog.text


def test_a_run_on_another_machine_that_gives_signs_of_life_is_left_alone(
    of_another_machine, monkeypatch
):
    lock = of_another_machine / "run.lock"
    monkeypatch.setattr(module.time, "sleep", lambda _: os.utime(lock, (1, 1)))
    with pytest.raises(InputError, match="another run writes .*: process 12 on node7"):
        with run_folder(of_another_machine, resume=True):
            pass


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_lock_of_no_content_is_taken(tmp_path, content, caplog):
    caplog.set_level(logging.WARNING)
    (tmp_path / "run.lock").write_text(content)
    with run_folder(tmp_path, resume=False):
        pass
    assert not (tmp_path / "run.lock").exists()


def test_a_live_run_touches_its_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BEAT", 0.001)
    with run_folder(tmp_path, resume=False):
        os.utime(tmp_path / "run.lock", (1, 1))
        for _ in range(10_000):
            if (tmp_path / "run.lock").stat().st_mtime > 1:
                return
            module.time.sleep(0.001)
    pytest.fail("the lock was not touched")


def test_within_a_run_the_folder_is_the_runs_own(folder):
    with run_folder(folder, resume=True) as outer:
        with run_folder(folder, resume=True) as inner:
            assert outer == inner == folder / "model_0000019.pth"
        assert (folder / "run.lock").exists()
