"""Disks and shared memory that really end during a run, in file systems of its own.

`tests/unit/engine/test_faults.py` has what can be had without them.
"""

import subprocess
import sys

import pytest
import torch
from detectron2.config import LazyConfig

from bpt_det.engine import read_result
from bpt_det.engine.metrics import read_records
from tests.e2e.test_distributed import whole_run
from tests.support.paths import ROOT
from tests.support.regression import regression_config

NAMESPACE = ["unshare", "--map-root-user", "--mount", "bash", "-c"]


@pytest.fixture(scope="module", autouse=True)
def _environment(repository_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository_root)
        patch.setenv("BPT_DET_TRUST", "tests")
        try:
            subprocess.run([*NAMESPACE, "mount -t tmpfs tmpfs /mnt"], check=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("this user may not mount a file system of its own")
        yield


def train_in(mounted, size, arguments, keep=None):
    """Train where a folder is a file system of so many KB; copy its files to another folder."""
    command = f"mount -t tmpfs -o size={size}k tmpfs {mounted} && "
    command += f"{sys.executable} {ROOT}/tools/train_net.py {' '.join(map(str, arguments))}"
    if keep is not None:
        command += f"; status=$?; cp -r {mounted}/. {keep}; exit $status"
    done = subprocess.run([*NAMESPACE, command], capture_output=True, text=True, timeout=200)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def spoiled(tmp_path, fault, *, at=3, until=None, eval_period=12):
    """Arguments of a run of 12 iterations that meets a fault before an iteration."""
    cfg = regression_config(tmp_path / "x")
    cfg.train.update(max_iter=12, eval_period=eval_period, log_period=1)
    cfg.train.output_dir = str(tmp_path / "disk/run")
    cfg.train.checkpointer.update(period=2, max_to_keep=2)
    hook = {"_target_": "tests.support.killing.SpoilFolder", "folder": cfg.train.output_dir}
    cfg.train.hooks = [{**hook, "iteration": at, "until": until, "fault": fault}]
    for folder in ("disk", "kept"):
        (tmp_path / folder).mkdir()
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    return ["--config-file", tmp_path / "config.yaml"]


def lines_with(text, *words):
    return [line for line in text.splitlines() if all(word in line for word in words)]


@pytest.mark.slow
def test_a_disk_that_stays_full_ends_in_one_line_and_keeps_the_checkpoint(tmp_path):
    arguments = spoiled(tmp_path, "full")
    done = train_in(tmp_path / "disk", 2000, arguments, tmp_path / "kept")
    assert done.returncode == 2
    (line,) = lines_with(done.stderr, "error: ")
    assert "model_final.pth" in line and "is the disk full?" in line
    kept = tmp_path / "kept/run/model_0000001.pth"
    assert torch.load(kept, weights_only=True)["iteration"] == 1


@pytest.mark.slow
def test_a_disk_that_is_full_for_a_while_changes_nothing(tmp_path):
    """Full at the evaluation of iteration 5, the best so far, and at two checkpoints."""
    runs = {}
    for name, at in {"free": None, "full": 4}.items():
        folder = tmp_path / name
        folder.mkdir()
        arguments = spoiled(folder, "full", at=at, until=9, eval_period=6)
        done = train_in(folder / "disk", 2000, arguments, folder / "kept")
        assert done.returncode == 0, done.stderr
        runs[name] = folder / "kept/run"
        assert ("best checkpoint is kept in memory" in done.stderr) == (name == "full")
    for name in ("model_best", "model_final"):
        free, full = (torch.load(run / f"{name}.pth", weights_only=True) for run in runs.values())
        assert full["trainer"]["iteration"] == free["trainer"]["iteration"]
        assert all(torch.equal(full["model"][key], value) for key, value in free["model"].items())
    files = [sorted(path.name for path in run.glob("*.pth")) for run in runs.values()]
    assert files[0] == files[1]


@pytest.mark.slow
def test_a_folder_that_is_removed_gets_the_checkpoints_that_follow(tmp_path):
    done = train_in(tmp_path / "disk", 2000, spoiled(tmp_path, "gone"), tmp_path / "kept")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "kept/run"
    assert torch.load(run / "model_final.pth", weights_only=True)["iteration"] == 11
    assert read_result(run).status == "finished"
    records = [r for r in read_records(run / "metrics.json") if "total_loss" in r]
    assert [record["iteration"] for record in records] == list(range(3, 12))


@pytest.mark.slow
def test_shared_memory_that_is_full_is_one_line(shapes_root, tmp_path):
    arguments = whole_run(shapes_root, tmp_path / "run", total_batch_size=4)
    words = ["dataloader.train.num_workers=2", "dataloader.test.num_workers=2"]
    done = train_in("/dev/shm", 64, [*arguments, *words])
    assert done.returncode == 2
    (line,) = lines_with(done.stderr, "error: ")
    assert "/dev/shm" in line and "num_workers" in line
