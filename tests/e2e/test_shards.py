"""Tar shards: a run on them is that on a folder, resumed, with workers and in two processes too."""

import io
import itertools
import shutil

import pytest
import torch
from detectron2.config import LazyConfig
from PIL import Image

from bpt_det.classification import ClassificationMapper
from bpt_det.classification.layouts import load_classification
from bpt_det.cli.app import main
from bpt_det.config import load_config
from bpt_det.engine import TrainLoader
from tests.support import class_trees
from tests.support.classifiers import shrink_classifier
from tests.support.paths import ROOT
from tests.support.processes import run_in_two_processes
from tests.support.tars import write_tar


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Class folders, and shards of the same images in the same order."""
    root = tmp_path_factory.mktemp("data")
    tree = class_trees.write_class_folders(root / "folders", splits=("train", "val"))
    for split in ("train", "val"):
        paths = sorted((tree / split).rglob("*.JPEG"))
        classes = sorted({path.parent.name for path in paths})
        members = {}
        for number, path in enumerate(paths):
            members[f"{number:04d}.jpg"] = path.read_bytes()
            members[f"{number:04d}.cls"] = str(classes.index(path.parent.name)).encode()
        pairs = list(members.items())
        cut = len(pairs) // 4 * 2
        write_tar(root / f"shards/{split}-000.tar", pairs[:cut])
        write_tar(root / f"shards/{split}-001.tar", pairs[cut:])
    return {"folder": f"folder:{tree}", "shards": f"shards:{root}/shards"}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A tiny classifier as a YAML file; 30 training images are 5 iterations."""
    cfg = load_config(str(ROOT / "configs/fgvc/cub.py"), ["method=bpt_s"])
    shrink_classifier(cfg, 6, num_workers=2)
    cfg.train.update(epochs=1, log_period=1)
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    LazyConfig.save(cfg, str(path))
    return path


def final_model(folder):
    return torch.load(folder / "model_final.pth", weights_only=True)["model"]


def test_a_run_on_shards_is_that_on_a_folder_and_resumes_exactly(data, config, tmp_path):
    def train(name, folder, *more):
        more = [f"train.output_dir={folder}", *more]
        settings = [f"data={data[name]}", "train.checkpointer.period=2", *more]
        assert main(["train-cls", "--config-file", str(config), *settings]) == 0
        return final_model(folder)

    expected, found = (train(name, tmp_path / name) for name in ("folder", "shards"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    resumed = tmp_path / "resumed"
    resumed.mkdir()
    shutil.copy(tmp_path / "shards/model_0000001.pth", resumed)
    (resumed / "last_checkpoint").write_text("model_0000001.pth")
    again = train("shards", resumed, "--resume")
    assert all(torch.equal(again[name], value) for name, value in expected.items())


def stream(name, start, count):
    """Ids and sums of pixels of the samples of a process, from a batch on."""
    mapper = ClassificationMapper(6, 6)
    loader = TrainLoader(load_classification(name), mapper, total_batch_size=4, num_workers=2)
    loader.start_batch = start
    return [
        [(sample["image_id"], int(sample["image"].sum())) for sample in batch]
        for batch in itertools.islice(iter(loader), count)
    ]


def write_stream(rank, folder, name):
    torch.save(stream(name, 3, 6), f"{folder}/{rank}.pth")


def test_two_processes_share_the_stream_of_one_from_any_batch_on(data, tmp_path):
    run_in_two_processes(write_stream, tmp_path, str(tmp_path), data["shards"])
    halves = [torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in range(2)]
    together = [samples for pair in zip(*halves, strict=True) for samples in pair]
    alone = itertools.chain(*stream(data["shards"], 3, 6))
    assert list(itertools.chain(*together)) == list(alone)


def test_a_broken_image_in_a_shard_ends_a_run_with_its_name(data, config, tmp_path, capsys):
    shards = tmp_path / "shards"
    shutil.copytree(data["shards"].removeprefix("shards:"), shards)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "JPEG")
    for name in ("000", "001"):  # every image of one shard
        members = {}
        for number in range(15):
            members[f"{number:04d}.jpg"] = buffer.getvalue()[:300]
            members[f"{number:04d}.cls"] = str(number % 3).encode()
        write_tar(shards / f"train-{name}.tar", members)
    settings = [f"data=shards:{shards}", f"train.output_dir={tmp_path / 'run'}"]
    assert main(["train-cls", "--config-file", str(config), *settings]) == 2
    (line,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("error: ")]
    assert f"image '{shards}/train-00" in line and ".jpg' cannot be read" in line
