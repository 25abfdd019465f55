import numpy as np
import pytest
from detectron2.data.detection_utils import read_image
from PIL import Image

from bpt_det.data.images import array_to_rgb, folder_records, pil_to_rgb, read_rgb, spread_evenly
from bpt_det.utils.errors import InputError


def records(number):
    return [{"image_id": 10 * index} for index in range(number)]


def ids(chosen):
    return [record["image_id"] for record in chosen]


def test_the_choice_does_not_depend_on_the_order_of_the_records():
    assert ids(spread_evenly(records(29), 4)) == ids(spread_evenly(records(29)[::-1], 4))


@pytest.mark.parametrize(("number", "count"), [(150, 16), (40, 7), (9, 8), (5, 1)])
def test_one_image_is_chosen_of_each_stretch_of_the_data(number, count):
    chosen = [image_id // 10 for image_id in ids(spread_evenly(records(number), count))]
    assert [int((index + 0.5) * count / number) for index in chosen] == list(range(count))


def test_all_images_are_chosen_if_there_are_fewer():
    assert ids(spread_evenly(records(3), 16)) == [0, 10, 20]


def test_the_images_of_a_folder_are_sorted_by_name(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden"):
        (tmp_path / name).touch()
    found = folder_records(str(tmp_path))
    assert ids(found) == ["a.jpg", "b.PNG"]
    assert found[0]["file_name"] == str(tmp_path / "a.jpg")


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--input '.*/absent' is not a folder; give one that"):
        folder_records(str(tmp_path / "absent"))


def test_a_folder_without_images_says_what_counts_as_one(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"--input '.*' holds no images; files that end in .bmp,"):
        folder_records(str(tmp_path))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xd8\xff no jpeg", b"\x89PNG\r\n\x1a\n"])
def test_an_image_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"image '.*a.jpg' cannot be read \(.*\); restore the fil"):
        read_rgb(str(path))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_kind_of_image_is_read_as_rgb(tmp_path, mode):
    path = tmp_path / "a.tif"
    Image.new(mode, (7, 5)).save(path)
    image = read_rgb(str(path))
    assert image.shape == (5, 7, 3) and image.dtype == np.uint8


def test_the_images_of_subfolders_are_found_if_asked_for(tmp_path):
    (tmp_path / "b/c").mkdir(parents=True)
    for name in ("d.png", "b/a.png", "b/c/a.png"):
        (tmp_path / name).touch()
    assert ids(folder_records(str(tmp_path))) == ["d.png"]
    assert ids(folder_records(str(tmp_path), recursive=True)) == ["b/a.png", "b/c/a.png", "d.png"]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "LA"])
def test_pixels_are_those_that_detectron2_reads(tmp_path, mode):
    """Training and evaluation read with `read_image`."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    path = tmp_path / "a.tif"
    Image.fromarray(pixels).convert("L" if mode == "LA" else mode).convert(mode).save(path)
    np.testing.assert_array_equal(read_rgb(path), read_image(str(path), "RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upright = read_rgb(tmp_path / "a.png")
    assert upright.shape == ((5, 7, 3) if orientation < 5 else (7, 5, 3))
    np.testing.assert_array_equal(upright, read_image(str(tmp_path / "a.png"), "RGB"))
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(pil_to_rgb(image), upright)


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    values = np.array([[0, 255, 256], [40000, 65279, 65535]], dtype=np.uint16)
    expected = np.repeat((values // 256)[:, :, None], 3, axis=2)
    for suffix in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(read_rgb(tmp_path / f"a.{suffix}"), expected)
    np.testing.assert_array_equal(array_to_rgb(values), expected)
    np.testing.assert_array_equal(pil_to_rgb(Image.fromarray(values.astype(np.int32))), expected)


@pytest.mark.parametrize("pixels", [np.zeros((5, 7), np.float32), np.full((5, 7), 2**16)])
def test_pixels_without_a_known_range_are_refused(tmp_path, pixels):
    path = tmp_path / "a.tif"
    Image.fromarray(pixels.astype(pixels.dtype.str.replace("8", "4"))).save(path)
    with pytest.raises(InputError, match=r"a.tif' cannot be read \(pixels of mode '[FI]' have no"):
        read_rgb(path)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_gray_and_transparent_arrays_become_rgb(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = array_to_rgb(array)
    assert image.shape == (5, 7, 3)
    np.testing.assert_array_equal(image[:, :, 0], array.reshape(5, 7, -1)[:, :, 0])
    np.testing.assert_array_equal(image[:, :, 2], array.reshape(5, 7, -1)[:, :, :3][:, :, -1])


@pytest.mark.parametrize("shape", [(5,), (5, 7, 2), (3, 5, 7), (2, 5, 7, 3), (0, 7, 3)])
def test_an_array_of_another_shape_is_refused_with_it(shape):
    with pytest.raises(InputError, match=rf"must have the shape \(H, W, 3\), .* got \({shape[0]},"):
        array_to_rgb(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", ["float32", "bool", "int64"])
def test_an_array_of_another_dtype_is_refused_with_it(dtype):
    with pytest.raises(InputError, match=rf"must be uint8 in \[0, 255\], or uint16; got {dtype}"):
        array_to_rgb(np.zeros((5, 7, 3), dtype))


def test_a_folder_of_an_image_s_name_is_no_image(tmp_path):
    (tmp_path / "more.jpg").mkdir()
    Image.new("RGB", (5, 4)).save(tmp_path / "a.jpg")
    assert [one["image_id"] for one in folder_records(str(tmp_path))] == ["a.jpg"]
