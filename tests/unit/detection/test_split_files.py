"""Split files: the names of both sides of a held-out split."""

from bpt_det.detection import WriteSplit
from tests.support.label_files import IMAGES, write_yolo


def test_the_images_of_both_sides_are_written(tmp_path):
    file = write_yolo(tmp_path, {f"{number:02}": IMAGES["a"] for number in range(30)})
    WriteSplit(f"{file}#80%", f"{file}#20%", str(tmp_path / "split")).before_train()
    train, val = ((tmp_path / f"split/{side}.txt").read_text().split() for side in ("train", "val"))
    assert len(train) > len(val) > 0
    assert sorted(train + val) == [f"images/train/{number:02}.png" for number in range(30)]
