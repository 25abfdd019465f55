"""The programs on the page about many GPUs, as they are written there, in two processes on the CPU.

What is replaced in them are the config, the output folder, and numbers of machines and GPUs.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bpt_det.engine import read_result
from tests.e2e.test_distributed import assert_equal_weights, train, whole_run
from tests.e2e.test_launchers import free_port
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/how_to/many_gpus.md").read_text()
FAKE_SRUN = """#!/bin/bash
export SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=127.0.0.1 MASTER_PORT={port}
for i in 0 1; do SLURM_PROCID=$i SLURM_LOCALID=$i "$@" & pids[$i]=$!; done
status=0
for i in 0 1; do wait ${{pids[$i]}} || status=$?; done
exit $status
"""


def block(language, word):
    """The one block of code on the page in a language that holds a word."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    (found,) = [text for text in blocks if word in text]
    return found


def replace(text, **replacements):
    for old, new in replacements.values():
        assert old in text
        text = text.replace(old, str(new))
    return text


@pytest.fixture
def two(shapes_root, tmp_path, monkeypatch):
    """Config of a run of 3 iterations in two processes; nothing else of it is given."""
    monkeypatch.chdir(ROOT)
    whole_run(shapes_root, tmp_path / "run", total_batch_size=4)
    return tmp_path / "run.yaml"


@pytest.fixture
def equals_one_process(shapes_root, tmp_path):
    """Function that checks that the run is that of one process with as large a batch."""

    def check():
        assert read_result(tmp_path / "run").status == "finished"
        alone = whole_run(shapes_root, tmp_path / "alone", total_batch_size=2, accumulate_steps=2)
        assert train(alone) == 0
        assert_equal_weights(tmp_path / "alone", tmp_path / "run")

    return check


def run_all(*commands, **environment):
    """Start commands side by side; return their exit statuses and what they say."""
    started = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in commands
    ]
    texts = [process.communicate(timeout=500)[0] for process in started]
    return [process.returncode for process in started], "\n".join(texts)


@pytest.mark.slow
def test_the_job_of_kubernetes(two, tmp_path, equals_one_process):
    service, job = yaml.safe_load_all(block("yaml", "batch/v1"))
    pod = job["spec"]["template"]["spec"]
    name = job["metadata"]["name"]
    assert pod["subdomain"] == service["metadata"]["name"] == name
    assert service["spec"]["selector"] == {"job-name": name}
    (container,) = pod["containers"]
    assert f"--nnodes={job['spec']['completions']}" in container["command"]
    command = replace(
        shlex.join(container["command"]),
        launcher=("torchrun ", f"{sys.executable} -m torch.distributed.run "),
        gpus=("--nproc-per-node=8", "--nproc-per-node=1"),
        host=(f"{name}-0.{name}:29500", f"127.0.0.1:{free_port()}"),
        config=("coco/cascade_bpt_s", two),
        folder=("/runs/bpt_s", tmp_path / "run"),
    )
    statuses, text = run_all(*[shlex.split(command)] * 2)
    assert statuses == [0, 0], text
    equals_one_process()


@pytest.mark.slow
def test_the_batch_script_of_slurm(two, tmp_path, equals_one_process):
    """Stopped by SIGTERM it asks for a place in the queue, and goes on from its checkpoint."""
    programs = {
        "srun": FAKE_SRUN.format(port=free_port()),
        "scontrol": f'#!/bin/bash\necho "$@" >> {tmp_path}/requeued\n',
        "bpt-det": f'#!/bin/bash\nexec {sys.executable} -m bpt_det.cli "$@"\n',
    }
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    script = replace(
        block("bash", "#SBATCH"),
        config=("coco/cascade_bpt_s", two),
        folder=("output/cascade_bpt_s", tmp_path / "run"),
    )
    hook = "train.hooks=[{_target_: tests.support.killing.StopOnce, process: 1, iteration: 1}]"
    stopping = script.replace(" train.output_dir", f" --trust tests '{hook}' train.output_dir")
    (status,), text = run_all(["bash", "-c", stopping], **environment)
    assert status == 75, text
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
    assert read_result(tmp_path / "run").status == "preempted"
    (status,), text = run_all(["bash", "-c", script], **environment)
    assert status == 0, text
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
    equals_one_process()


@pytest.mark.slow
def test_ray_train(two, tmp_path, equals_one_process):
    pytest.importorskip("ray.train", reason='needs ray: pip install "ray[train]"')
    program = replace(
        block("python", "TorchTrainer"),
        config=("coco/cascade_bpt_s", two),
        folder=("/runs/bpt_s", tmp_path / "run"),
        size=("num_workers=8, use_gpu=True", "num_workers=2"),
        files=("RunConfig(", f"RunConfig(storage_path={str(tmp_path / 'ray')!r}, "),
    )
    (status,), text = run_all([sys.executable, "-c", program], RAY_USAGE_STATS_ENABLED="0")
    assert status == 0, text
    assert Path(tmp_path / "run/log.txt.rank1").is_file()
    equals_one_process()
