"""Split files: which images a run trains and validates on, where it holds some out itself."""

from pathlib import Path

from detectron2.engine import HookBase
from detectron2.utils import comm

from bpt_det.data.coco_dataset import read_coco
from bpt_det.utils.atomic import atomic_write


class WriteSplit(HookBase):
    """Hook that writes the names of the images of both sides into a folder, one on each line.

    Args:
        train, val: annotation sources of both sides, see `bpt_det.data.formats`.
        folder: gets ``train.txt`` and ``val.txt``.
    """

    def __init__(self, train: str, val: str, folder: str) -> None:
        self.sources = {"train": train, "val": val}
        self.folder = Path(folder)

    def before_train(self) -> None:
        """Write the files, in the main process."""
        if not comm.is_main_process():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, source in self.sources.items():
            dataset = read_coco(source, keep=name == "val")  # which is evaluated on next
            names = [image["file_name"] for image in dataset.images.values()]
            with atomic_write(self.folder / f"{name}.txt") as partial:
                lines = "".join(f"{image}\n" for image in names)
                partial.write_text(lines, encoding="utf-8", errors="surrogateescape")
