"""Dataset catalog: the datasets known by name, their sources and their expected counts."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bpt_det.data.archives import FileTree
from bpt_det.data.splits import Layout
from bpt_det.utils.errors import InputError

from .birds import BIRD_FILES, read_cub, read_nabirds
from .folders import read_class_folders
from .matlab import CARS_FILES, DOGS_FILES, FLOWERS_FILES, read_cars, read_dogs, read_flowers
from .shards import read_shards

FOLDER_PREFIX, SHARDS_PREFIX = "folder:", "shards:"
PREFIXES = (FOLDER_PREFIX, SHARDS_PREFIX)  # of names that say where a dataset is


@dataclass(frozen=True)
class DatasetSpec:
    """What is known about a dataset before its files are read.

    Args:
        title: its name in a sentence.
        source: where to get it.
        folder: the folder (or zip archive) its files usually lie in.
        anchors: files or folders by which its own folder is recognized.
        read: reads its official lists.
        num_classes: of the whole dataset; None where any will do.
        counts: images by split, Table 6 of the supplementary of arXiv 2506.22908.
        highest_label: largest class id in the lists; None where any will do.
        draws_validation: False where the validation split is official and may just be missing.
    """

    title: str
    source: str
    folder: str
    anchors: tuple[str, ...]
    read: Callable[[FileTree], Layout]
    num_classes: int | None
    counts: Mapping[str, int]
    highest_label: int | None = None
    draws_validation: bool = True

    @property
    def advice(self) -> str:
        """Say where the dataset comes from; it ends the error of a missing file."""
        return f"{self.title}: {self.source}, laid out as in datasets/README.md"

    @property
    def validation_share(self) -> float:
        """Part of the official training images that Table 6 holds out, a tenth if not listed."""
        if "val" not in self.counts:
            return 0.1
        return self.counts["val"] / (self.counts["train"] + self.counts["val"])


SPECS = {
    "cub": DatasetSpec(
        title="CUB-200-2011",
        source="get it from https://www.vision.caltech.edu/datasets/cub_200_2011",
        folder="CUB_200_2011",
        anchors=BIRD_FILES,
        read=read_cub,
        num_classes=200,
        counts={"train": 5394, "val": 600, "test": 5794},
        highest_label=200,
    ),
    "nabirds": DatasetSpec(
        title="NABirds",
        source="get it from https://dl.allaboutbirds.org/nabirds",
        folder="nabirds",
        anchors=BIRD_FILES,
        read=read_nabirds,
        num_classes=555,
        counts={"train": 21536, "val": 2393, "test": 24633},
        highest_label=1010,  # the ids count the inner nodes of the taxonomy too
    ),
    "flowers": DatasetSpec(
        title="Oxford Flowers 102",
        source="get it from https://www.robots.ox.ac.uk/~vgg/data/flowers/102",
        folder="OxfordFlowers",
        anchors=FLOWERS_FILES,
        read=read_flowers,
        num_classes=102,
        counts={"train": 1020, "val": 1020, "test": 6149},
        highest_label=102,
    ),
    "dogs": DatasetSpec(
        title="Stanford Dogs",
        source="get it from http://vision.stanford.edu/aditya86/ImageNetDogs",
        folder="StanfordDogs",
        anchors=(*DOGS_FILES, "Images"),
        read=read_dogs,
        num_classes=120,
        counts={"train": 10800, "val": 1200, "test": 8580},
        highest_label=120,
    ),
    "cars": DatasetSpec(
        title="Stanford Cars",
        source="see https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
        folder="StanfordCars",
        anchors=(*CARS_FILES, "cars_train", "car_ims"),
        read=read_cars,
        num_classes=196,
        counts={"train": 7329, "val": 815, "test": 8041},
        highest_label=196,
    ),
    "imagenet": DatasetSpec(
        title="ImageNet-1k (ILSVRC 2012)",
        source="get it from https://www.image-net.org/download",
        folder="imagenet",
        anchors=("train", "val"),
        read=read_class_folders,
        num_classes=1000,
        counts={"train": 1281167, "val": 50000},
        draws_validation=False,
    ),
    "shapes_crops": DatasetSpec(
        title="crops of the embedded shapes",
        source="render them with python -m bpt_det.shapes --crops --output datasets/shapes_crops",
        folder="shapes_crops",
        anchors=("train", "val", "test"),
        read=read_class_folders,
        num_classes=10,
        counts={},
    ),
}


_CUSTOM = {
    FOLDER_PREFIX: DatasetSpec(
        title="a dataset of your own",
        source="one folder of images per class, directly or below train/ (and val/, test/)",
        folder="",
        anchors=(),
        read=read_class_folders,
        num_classes=None,
        counts={},
    ),
    SHARDS_PREFIX: DatasetSpec(
        title="a dataset in tar shards",
        source="tar files of images NAME.jpg and labels NAME.cls, in a folder or as in "
        "/data/{train-{000..127},val-{00..07}}.tar",
        folder="",
        anchors=(),
        read=read_shards,
        num_classes=None,
        counts={},
    ),
}


def find_spec(name: str) -> DatasetSpec:
    """Return what is known about ``name``; ``folder:PATH`` and ``shards:PATH`` are any dataset's.

    Raises:
        InputError: there is no dataset of that name.
    """
    prefix = prefix_of(name)
    if prefix == name:
        raise InputError(
            f"'{name}' names no {prefix[:-1]}; give one, as in {prefix}/data/birds",
            parameter="name",
        )
    if prefix:
        return _CUSTOM[prefix]
    if name not in SPECS and ("/" in name or name.endswith(".tar")):
        is_shard = name.endswith(".tar")
        kinds = ("class folders in it", "tar shards") if is_shard else ("images", "tar shards")
        places = " or ".join(f"{p}{name} for {k}" for p, k in zip(PREFIXES, kinds, strict=True))
        raise InputError(f"unknown dataset '{name}'; give {places}", parameter="name")
    if name not in SPECS:
        near = difflib.get_close_matches(name.lower(), SPECS, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(
            f"unknown dataset '{name}'; {hint}there are {', '.join(SPECS)}, folder:PATH and "
            "shards:PATH",
            parameter="name",
        )
    return SPECS[name]


def prefix_of(name: str) -> str:
    """Return how a name begins that says where a dataset is: one of `PREFIXES`, or else empty."""
    return next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
