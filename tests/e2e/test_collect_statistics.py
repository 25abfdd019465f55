"""Command `stats`: token statistics of a tiny config on rendered shapes."""

import logging
import shlex
import shutil

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from PIL import Image

from bpt_det.cli import stats
from bpt_det.cli.arguments import build_training_parser
from bpt_det.cli.launch import run_training_tool
from bpt_det.config import load_config
from bpt_det.vit import fingerprint
from bpt_det.vit.embedding import center_square
from bpt_det.vit.statistics import load_statistics
from tests.support.detectors import shrink, use_shapes
from tests.support.paths import ROOT


@pytest.fixture
def collect():
    yield lambda *argv: stats.main([str(argument) for argument in argv])
    for name in ("bpt_det", "detectron2", "fvcore"):
        logging.getLogger(name).handlers.clear()


@pytest.fixture
def write_config(tmp_path, shapes_root):
    """Write a tiny config, which names its statistics, as a YAML file; returns its path."""

    def write(method):
        cfg = load_config(str(ROOT / "configs/shapes/cascade.py"), [f"method={method}"])
        use_shapes(shrink(cfg), shapes_root)
        cfg.train.prompt_statistics = str(tmp_path / "statistics/tiny.safetensors")
        cfg.train.output_dir = str(tmp_path / "out")
        cfg.train.max_iter = 1
        LazyConfig.save(cfg, str(tmp_path / f"cascade_{method}.yaml"))
        return tmp_path / f"cascade_{method}.yaml"

    return write


def train(argv):
    return run_training_tool(build_training_parser("train", "").parse_intermixed_args(argv))


@pytest.fixture
def statistics_path(tmp_path):
    return tmp_path / "statistics/tiny.safetensors"


def error_line(capsys):
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.parametrize(
    ("method", "what", "blocks"),
    [
        ("fwhiten_s", "second_moment", [0]),
        ("twhiten_d", "second_moment", [1, 2, 3, 4]),
        ("bpt_d_released", "second_moment", [0, 1, 2, 3, 4]),
        ("spt_d", "tokens", [0, 1, 2, 3, 4]),
    ],
)
def test_what_the_prompts_of_a_config_need_is_collected_over_its_training_data(
    method, what, blocks, collect, write_config, statistics_path
):
    config = write_config(method)
    assert collect("--config-file", config, "--num-images", 7, "--token-images", 3) == 0
    statistics = load_statistics(statistics_path)
    assert list(statistics.blocks) == blocks and statistics.num_images == 7
    assert statistics.preprocessing["image_size"] == 64  # pretrain_size: 8 x 8 patches of 8 pixels
    vit = instantiate(load_config(str(config)).model.backbone.net.vit)
    assert statistics.fingerprint == fingerprint(vit)
    for block in statistics.blocks.values():
        if what == "tokens":
            assert block.tokens.shape == (3, 64, 32) and block.second_moment is None
        else:
            assert block.num_tokens == 7 * 65 and block.tokens is None


def test_a_run_that_lacks_statistics_prints_the_command_that_makes_them(
    collect, write_config, statistics_path, capsys
):
    config = write_config("fwhiten_s")
    argv = ["--config-file", str(config), "train.seed=3"]
    assert train(argv) == 2
    problem, _, command = error_line(capsys).partition(". Collect them: ")
    assert problem == f"error: token statistics '{statistics_path}' do not exist"
    assert command == f"bpt-det stats --config-file {config} train.seed=3"
    assert collect(*command.split()[2:]) == 0
    assert train(argv) == 0


def test_where_no_statistics_are_named_the_command_names_some(
    collect, write_config, tmp_path, monkeypatch, capsys
):
    """As printed, both the setting and the command work from a shell, quoting included."""
    config = write_config("vpt_s")
    argv = ["--config-file", str(config), "model.backbone.net.prompt.init=mean_pool"]
    argv += ["train.prompt_statistics=null", "model.backbone.net.placement=[0,3]"]
    monkeypatch.chdir(tmp_path)
    assert train(argv) == 2
    problem, _, rest = error_line(capsys).partition(". Add ")
    assert "prompts" in problem and "token statistics" in problem
    setting, _, command = rest.partition(" to this command too, and collect them: ")
    assert setting == "train.prompt_statistics=statistics/cascade_vpt_s.safetensors"
    words = shlex.split(command)
    assert words == ["bpt-det", "stats", *argv, setting]
    assert "'model.backbone.net.placement=[0,3]'" in command
    assert collect(*words[2:]) == 0
    assert train([*argv, *shlex.split(setting)]) == 0


def test_statistics_of_another_vit_are_to_be_deleted_before_the_command(
    collect, write_config, statistics_path, capsys
):
    config = write_config("fwhiten_s")
    assert collect("--config-file", config) == 0
    argv = ["--config-file", str(config), "+model.backbone.net.vit.init_seed=9"]
    assert train(argv) == 2
    text, _, command = error_line(capsys).partition("collect them: bpt-det stats ")
    assert text.startswith(f"error: token statistics '{statistics_path}' are of another frozen")
    assert "Delete that file or name another with train.prompt_statistics=FILE, and " in text
    statistics_path.unlink()
    assert collect(*command.split()) == 0
    assert train(argv) == 0


def test_a_folder_is_searched_with_its_subfolders(
    collect, write_config, shapes_root, statistics_path
):
    argv = ["--config-file", write_config("fwhiten_s"), "--images", shapes_root]
    assert collect(*argv) == 0
    assert load_statistics(statistics_path).num_images == 12 + 6  # of 100 asked for


def test_images_are_spread_evenly_over_the_data(
    collect, write_config, shapes_root, statistics_path, tmp_path
):
    """Half of the images of a folder are the same as every second one, in a folder of its own."""
    config = write_config("spt_s")
    files = sorted((shapes_root / "train").iterdir())
    (tmp_path / "half").mkdir()
    for file in files[1::2]:
        shutil.copy(file, tmp_path / "half")
    argv = ["--config-file", config, "--num-images", 6]
    assert collect(*argv, "--images", shapes_root / "train") == 0
    whole = load_statistics(statistics_path).blocks[0]
    assert collect(*argv, "--images", tmp_path / "half", "--output", tmp_path / "half.st") == 0
    torch.testing.assert_close(load_statistics(tmp_path / "half.st").blocks[0].tokens, whole.tokens)


def test_an_image_is_resized_by_its_shorter_side_and_its_center_is_normalized():
    image = Image.new("RGB", (60, 20), (200, 0, 0))
    image.paste((0, 100, 50), (20, 0, 40, 20))  # the middle square
    pixels = torch.tensor(list(image.tobytes()), dtype=torch.uint8).view(20, 60, 3).numpy()
    square = center_square(pixels, 10, pixel_mean=(10, 20, 30), pixel_std=(2, 4, 8))
    assert square.shape == (3, 10, 10)
    middle = square[:, :, 3:7]
    expected = torch.tensor([(0 - 10) / 2, (100 - 20) / 4, (50 - 30) / 8])
    torch.testing.assert_close(middle, expected[:, None, None].expand_as(middle))


def test_a_file_that_exists_is_not_written_over(collect, write_config, statistics_path, capsys):
    config = write_config("fwhiten_s")
    statistics_path.parent.mkdir()
    statistics_path.write_text("precious")
    assert collect("--config-file", config) == 2
    assert error_line(capsys) == (
        f"error: --output '{statistics_path}' exists; choose another name, or delete it first."
    )
    assert statistics_path.read_text() == "precious"


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--num-images", 0], "--num-images must be at least 1, got 0."),
        (["--token-images", -1], "--token-images must be at least 1, got -1."),
        (["--batch-size", 0], "--batch-size must be at least 1, got 0."),
        (["--image-size", 30], "image size 30x30 is not a multiple of patch_size=8; pad the"),
        (["--images", "/no/where"], "--images '/no/where' does not exist; give a folder or a"),
        (["--images", "coco_2099"], "dataset 'coco_2099' is not registered; the nearest"),
        (["train.prompt_statistics=null"], "the config names no statistics file; give one"),
        (["--output", "/dev/null/x.st"], "cannot write to --output '/dev/null'"),
        (
            ["model.backbone.net.prompt=null"],
            "the prompts of this config need no statistics; choose one whose prompts do",
        ),
    ],
)
def test_a_bad_option_is_one_line(collect, write_config, statistics_path, capsys, argv, text):
    config = write_config("fwhiten_s")
    assert collect("--config-file", config, *argv) == 2
    assert error_line(capsys).startswith(f"error: {text}")
    assert not statistics_path.exists()


def test_a_method_whose_prompts_need_no_statistics_is_refused(collect, write_config, capsys):
    assert collect("--config-file", write_config("vpt_s")) == 2
    assert "the prompts of this config need no statistics; choose one" in error_line(capsys)


def test_a_broken_image_is_named_and_nothing_is_left_behind(
    collect, write_config, statistics_path, tmp_path, capsys
):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/broken.jpg").write_bytes(b"no image")
    config = write_config("fwhiten_s")
    assert collect("--config-file", config, "--images", tmp_path / "photos") == 2
    assert f"image '{tmp_path / 'photos/broken.jpg'}' cannot be read" in error_line(capsys)
    assert not statistics_path.exists()
