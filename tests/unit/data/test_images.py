"""Image reader: pixels, orientation, bit depth, and errors that name the file."""

import warnings

import numpy as np
import pytest
from detectron2.data.detection_utils import read_image
from PIL import Image

from bpt_det.data.images import (
    folder_records,
    read_rgb,
    spread_evenly,
    to_rgb,
)
from bpt_det.utils.errors import InputError
from tests.support import class_trees

ORIENTATION = 0x0112
LOSSLESS = {".webp": {"lossless": True}}


def random_pixels(height=5, width=7):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_turned(path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(random_pixels()).save(path, exif=exif, **LOSSLESS.get(path.suffix, {}))


def oriented(stored, orientation):
    """Turn stored pixels upright, by the definition of the eight orientations."""
    return {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored[::-1].transpose(1, 0, 2),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: stored[:, ::-1].transpose(1, 0, 2),
    }[orientation]


def ids(records):
    return [record["image_id"] for record in records]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "LA"])
def test_pixels_are_those_that_detectron2_reads(tmp_path, mode):
    """Training and evaluation of detectors read with `read_image`."""
    path = tmp_path / "a.tif"
    image = Image.fromarray(random_pixels())
    image.convert("L" if mode == "LA" else mode).convert(mode).save(path)
    expected = read_image(str(path), "RGB")
    np.testing.assert_array_equal(read_rgb(path), expected)


@pytest.mark.parametrize("transparency", [3, bytes(range(0, 256, 16))])
def test_a_palette_loses_its_transparency_without_a_warning(tmp_path, transparency):
    path = tmp_path / "a.png"
    image = Image.fromarray(random_pixels()).quantize(16)
    image.save(path, transparency=transparency)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = read_rgb(path)
    np.testing.assert_array_equal(pixels, np.array(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_an_image_is_turned_upright_once(tmp_path, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    write_turned(path, orientation)
    upright = read_rgb(path)
    expected = oriented(random_pixels(), orientation)
    np.testing.assert_array_equal(upright, expected)
    with Image.open(path) as image:
        np.testing.assert_array_equal(to_rgb(image), upright)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_unknown_orientation_is_left_alone(tmp_path, orientation):
    write_turned(tmp_path / "a.png", orientation)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), random_pixels())


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, suffix):
    values = np.array([[0, 255, 256], [40000, 65279, 65535]], dtype=np.uint16)
    expected = np.repeat((values // 256)[:, :, None], 3, axis=2)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(read_rgb(path), expected)
    np.testing.assert_array_equal(to_rgb(values), expected)
    np.testing.assert_array_equal(to_rgb(Image.fromarray(values.astype(np.int32))), expected)


@pytest.mark.parametrize("pixels", [np.zeros((5, 7), np.float32), np.full((5, 7), 2**16)])
def test_pixels_without_a_known_range_are_refused(tmp_path, pixels):
    path = tmp_path / "a.tif"
    Image.fromarray(pixels.astype(pixels.dtype.str.replace("8", "4"))).save(path)
    with pytest.raises(InputError, match=r"a.tif' has values of no known range .* mode '[FI]'"):
        read_rgb(path)


@pytest.mark.parametrize(
    "content", [None, b"no image", b"\xff\xd8\xff no jpeg", b"\x89PNG\r\n\x1a\n", "half a PNG"]
)
def test_an_image_that_cannot_be_read_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "a.png"
    if content == "half a PNG":
        class_trees.write_image(path, (1, 2, 3))
        content = path.read_bytes()[: path.stat().st_size // 2]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"a.png' cannot be read \(.*\); restore") as info:
        read_rgb(path)
    assert "\n" not in str(info.value) and "0x" not in str(info.value)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_gray_and_transparent_arrays_become_rgb(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = to_rgb(array)
    assert image.shape == (5, 7, 3)
    np.testing.assert_array_equal(image[:, :, 0], array.reshape(5, 7, -1)[:, :, 0])
    np.testing.assert_array_equal(image[:, :, 2], array.reshape(5, 7, -1)[:, :, :3][:, :, -1])


@pytest.mark.parametrize("shape", [(5,), (5, 7, 2), (3, 5, 7), (2, 5, 7, 3), (0, 7, 3)])
def test_an_array_of_another_shape_is_refused_with_it(shape):
    with pytest.raises(InputError, match=rf"must have the shape \(H, W, 3\), .* got \({shape[0]},"):
        to_rgb(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", ["float32", "bool", "int64"])
def test_an_array_of_another_dtype_is_refused_with_it(dtype):
    with pytest.raises(InputError, match=rf"must be uint8 in \[0, 255\], or uint16; got {dtype}"):
        to_rgb(np.zeros((5, 7, 3), dtype))


def test_the_images_of_a_folder_are_sorted_by_name(tmp_path):
    for name in ("b.PNG", "a.jpg", "c.ppm", "notes.txt", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "a_folder.jpg").mkdir()
    records = folder_records(str(tmp_path))
    assert ids(records) == ["a.jpg", "b.PNG", "c.ppm"]
    assert records[0]["file_name"] == str(tmp_path / "a.jpg")


def test_the_images_of_subfolders_are_found_if_asked_for(tmp_path):
    (tmp_path / "b/c").mkdir(parents=True)
    for name in ("d.png", "b/a.png", "b/c/a.png"):
        (tmp_path / name).touch()
    assert ids(folder_records(str(tmp_path))) == ["d.png"]
    assert ids(folder_records(str(tmp_path), recursive=True)) == ["b/a.png", "b/c/a.png", "d.png"]


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--input '.*/absent' is not a folder"):
        folder_records(str(tmp_path / "absent"), option="--input")


def test_a_folder_without_images_says_what_counts_as_one(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"folder '.*' holds no images; .*\.bmp, .*\.ppm,"):
        folder_records(str(tmp_path))


@pytest.mark.parametrize(("number", "count"), [(150, 16), (40, 7), (9, 8), (5, 1)])
def test_one_image_is_chosen_of_each_stretch_in_any_order_of_the_records(number, count):
    records = [{"image_id": index} for index in range(number)]
    chosen = ids(spread_evenly(records, count))
    assert chosen == ids(spread_evenly(records[::-1], count))
    assert [int((index + 0.5) * count / number) for index in chosen] == list(range(count))


def test_all_images_are_chosen_if_there_are_fewer():
    assert ids(spread_evenly([{"image_id": index} for index in range(3)], 16)) == [0, 1, 2]
