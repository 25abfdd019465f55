"""Command lines: errors as one line, output folders, number of GPUs."""

import os
from argparse import Namespace

import pytest
from omegaconf import OmegaConf
from torch.multiprocessing import ProcessExitedException

from bpt_det.cli import train
from bpt_det.cli.arguments import build_tool_parser, build_training_parser
from bpt_det.cli.launch import (
    run_in_process,
    run_tool,
    run_training_tool,
    train_or_evaluate,
)
from bpt_det.engine.result import RunResult, read_result
from bpt_det.utils.errors import InputError


def test_bad_input_is_one_line_and_status_2(capsys):
    def main():
        raise InputError("rank must be in [1, embed_dim=8], got 9.")

    assert run_tool(main, Namespace()) == 2
    assert capsys.readouterr().err == "error: rank must be in [1, embed_dim=8], got 9.\n"


def test_an_interruption_is_one_line_and_status_130(capsys):
    def main():
        raise KeyboardInterrupt

    assert run_tool(main, Namespace()) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_error_of_a_library_that_ctrl_c_led_to_is_one_line_too(capsys):
    def main():
        try:
            raise KeyboardInterrupt
        finally:
            raise AttributeError("a library that cannot clean up")

    assert run_tool(main, Namespace()) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_success_is_status_0():
    assert run_tool(lambda: None, Namespace()) == 0


def test_an_error_of_ours_keeps_its_traceback():
    def main():
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run_tool(main, Namespace())


def test_more_gpus_than_there_are_are_refused(monkeypatch, repository_root):
    monkeypatch.chdir(repository_root)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    args = build_training_parser("train", "x").parse_args(
        ["--config-file", "configs/shapes/cascade_bpt_s.py", "--num-gpus", "2"]
    )
    with pytest.raises(
        InputError, match=r"--num-gpus 2 asks for more than the 0 GPUs that are vis"
    ):
        train_or_evaluate(args)


@pytest.mark.parametrize(
    "asked", [["--num-machines", "2"], ["--num-gpus", "2", "train.device=cpu"]]
)
def test_several_processes_without_gpus_are_refused(monkeypatch, repository_root, asked):
    monkeypatch.chdir(repository_root)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2 * ("train.device=cpu" in asked))
    config = ["--config-file", "configs/shapes/cascade_bpt_s.py"]
    with pytest.raises(InputError, match=r"needs GPUs, but the run is on the CPU; leave both out"):
        train_or_evaluate(build_training_parser("train", "x").parse_args([*config, *asked]))


def test_several_machines_need_an_address(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    options = ["--config-file", "shapes/cascade_bpt_s", "--num-machines", "2"]
    with pytest.raises(InputError, match="--num-machines 2 needs --dist-url"):
        train_or_evaluate(build_training_parser("train", "x").parse_args(options))


def test_a_refusal_in_one_of_several_processes_is_its_exit_status(monkeypatch, capsys):
    monkeypatch.setattr("bpt_det.cli.launch.comm.get_world_size", lambda: 2)
    cfg = OmegaConf.create({"train": {"init_checkpoint": ""}})
    args = Namespace(eval_only=True, resume=False)
    with pytest.raises(SystemExit, match="2"):
        run_in_process(cfg, args, {}, [])
    assert capsys.readouterr().err.startswith("error: --eval-only needs train.init_checkpoint=PATH")


@pytest.mark.parametrize(("eval_only", "status"), [(False, "diverged"), (True, "running")])
def test_a_process_that_ends_the_others_ends_the_run(monkeypatch, tmp_path, eval_only, status):
    def fail(*_, **__):
        raise ProcessExitedException("", error_index=1, error_pid=1, exit_code=3)

    monkeypatch.setattr("bpt_det.cli.launch.launch", fail)
    RunResult().write(tmp_path)
    options = ["--config-file", "shapes/cascade_bpt_s", f"train.output_dir={tmp_path}"]
    options += ["--eval-only"] * eval_only
    assert run_training_tool(build_training_parser("train", "").parse_args(options)) == 3
    assert read_result(tmp_path).status == status


def test_the_parser_takes_detectron2s_options():
    args = build_training_parser("train", "x").parse_args(
        "--config-file c.py --resume --eval-only --num-gpus 3 --num-machines 2 --machine-rank 1 "
        "--dist-url auto a.b=1 +c=2".split()
    )
    assert isinstance(args, Namespace)
    assert (args.config_file, args.resume, args.eval_only) == ("c.py", True, True)
    assert (args.num_gpus, args.num_machines, args.machine_rank) == (3, 2, 1)
    assert (args.dist_url, args.opts) == ("auto", ["a.b=1", "+c=2"])


def test_the_parser_of_a_tool_keeps_the_lines_of_its_description_and_takes_settings():
    parser = build_tool_parser("stats", "Does this.\n\n    bpt-det stats \\\n        train.seed=1")
    assert parser.parse_args(["train.seed=1", "+a=2"]).opts == ["train.seed=1", "+a=2"]
    assert "    bpt-det stats \\\n        train.seed=1\n" in parser.format_help()


def test_options_after_settings_are_options():
    argv = ["--config-file", "a.py", "a=1", "--eval-only", "b=2", "--num-gpus", "3"]
    args = build_training_parser("train", "").parse_intermixed_args(argv)
    assert (args.opts, args.eval_only, args.num_gpus) == (["a=1", "b=2"], True, 3)


def test_a_training_tool_takes_options_after_settings(tmp_path, capsys):
    """It gets as far as the config, rather than refuse ``--eval-only`` as a setting."""
    argv = ["--config-file", f"{tmp_path}/absent.py", "train.seed=1", "--eval-only"]
    assert train.main(argv) == 2
    assert "absent.py' does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train.main([*argv, "--evaluate-only"])
    assert "unrecognized arguments: --evaluate-only" in capsys.readouterr().err


def test_a_trusted_package_is_trusted_in_later_processes_too(monkeypatch):
    monkeypatch.setenv("BPT_DET_TRUST", "theirs")
    for parser in (build_tool_parser("predict", ""), build_training_parser("train", "")):
        arguments = parser.parse_intermixed_args(["--trust", "mine", "key=1", "--trust", "other"])
        assert arguments.opts == ["key=1"]
    assert set(os.environ["BPT_DET_TRUST"].split(",")) == {"theirs", "mine", "other"}
