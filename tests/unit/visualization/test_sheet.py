"""Picture sheets: every picture whole, every label in its place."""

import numpy as np
import pytest
from PIL import Image

from bpt_det.visualization.sheet import (
    SHEET_WIDTH,
    Sheet,
    contact_sheet,
    contact_sheet_tile,
    pack_rows,
    side_by_side,
)


def test_a_frame_lies_around_its_picture(tmp_path):
    sheet = Sheet(60, 50)
    picture = np.full((20, 30, 3), 90, dtype=np.uint8)
    sheet.image(picture, 10, 15, frame="#ff0000")
    sheet.line(5, 55, 45, "#0000ff")
    np.testing.assert_array_equal(sheet.pixels[15:35, 10:40], picture)
    is_red = (sheet.pixels == [255, 0, 0]).all(axis=2)
    assert is_red.sum() == 24 * 34 - 20 * 30 and is_red[13:37, 8:42].sum() == is_red.sum()
    assert ((sheet.pixels == [0, 0, 255]).all(axis=2)).sum() == 50
    sheet.save(tmp_path / "new/sheet.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new/sheet.png")), sheet.pixels)


def test_panels_stand_side_by_side_whatever_their_number():
    panels = [np.full((200, 300 + 50 * i, 3), 10 * i, dtype=np.uint8) for i in range(3)]
    row = side_by_side(panels, ["ground truth", "prediction", "another model"])
    assert row.shape[1] == sum(panel.shape[1] for panel in panels) + 2 * 8
    for panel in panels:
        assert (row[-200:] == panel[0, 0]).all(axis=2).sum() == panel[..., 0].size


def test_a_title_wider_than_its_panel_is_not_cut():
    panel = np.zeros((600, 20, 3), dtype=np.uint8)
    short, long = (side_by_side([panel], ["i" * length]) for length in (1, 60))
    is_ink = (long[: long.shape[0] - 600] < 128).any(axis=2)
    assert long.shape[1] > short.shape[1]
    assert not is_ink[:, -2:].any()
    assert is_ink[:, -long.shape[1] // 10 :].any()


def test_a_contact_sheet_shows_every_picture_whole():
    sizes = [(30, 200), (50, 180), (20, 200), (70, 60), (10, 150)]
    tiles = [np.full((*size, 3), 20 * i, dtype=np.uint8) for i, size in enumerate(sizes)]
    sheet = contact_sheet(tiles, [""] * len(tiles))
    for tile in tiles:
        assert (sheet == tile[0, 0]).all(axis=2).sum() == tile[..., 0].size


def test_a_contact_sheet_names_its_pictures():
    tiles = [np.zeros((30, 200, 3), dtype=np.uint8)] * 2
    sheet, plain = contact_sheet(tiles, ["a.jpg", "b" * 99]), contact_sheet(tiles, ["", ""])
    columns = np.flatnonzero((sheet != plain).any(axis=(0, 2)))
    assert (columns < 208).any() and (columns > 216).any()


@pytest.mark.parametrize("count", [1, 2, 16, 50, 200])
def test_a_contact_sheet_is_as_wide_as_a_page_and_not_much_too_long(count):
    tile = contact_sheet_tile(np.zeros((600, 1200, 3), dtype=np.uint8))
    sheet = contact_sheet([tile] * count, ["a.jpg"] * count)
    assert sheet.shape[1] == SHEET_WIDTH
    assert sheet.shape[0] <= 9000


def test_a_picture_that_would_make_its_row_much_smaller_begins_the_next_one():
    pair = (430, 1080)
    assert [len(row) for row in pack_rows([pair] * 3, SHEET_WIDTH, 460)] == [1, 1, 1]
    tiles = [np.full((*size, 3), 100, dtype=np.uint8) for size in [(600, 800), (300, 1134)]]
    sheet = contact_sheet(tiles, ["", ""], row_height=600)
    assert (sheet == 100).all(axis=2).sum() == 600 * 800 + 300 * 1134


def test_rows_are_filled_by_the_shapes_of_their_pictures():
    wide, tall = (300, 800), (900, 300)
    rows = pack_rows([wide, tall, tall, tall, tall, tall, tall, wide], 1000, 300)
    assert [[index for index, _ in row] for row in rows] == [[0, 1, 2], [3, 4, 5, 6, 7]]
    for row in rows:
        heights = {height for _, (height, _) in row}
        assert max(heights) - min(heights) <= 1  # of one height
        assert 990 <= sum(width + 8 for _, (_, width) in row) + 8 <= 1000


def test_a_tile_is_averaged_over_areas_and_never_enlarged():
    picture = np.zeros((400, 4000, 3), dtype=np.uint8)
    picture[:, ::2] = 100  # one pixel wide stripes would beat with nearest neighbors
    tile = contact_sheet_tile(picture)
    assert tile.shape[1] < 1150 and (np.abs(tile.astype(int) - 50) <= 14).all()
    small = picture[:50, :60]
    assert contact_sheet_tile(small) is small


@pytest.mark.parametrize("size", [(2, 9000), (9000, 2)])
def test_a_picture_that_is_a_line_keeps_a_pixel(size):
    tile = contact_sheet_tile(np.zeros((*size, 3), np.uint8))
    assert min(tile.shape[:2]) == 1
    assert contact_sheet([tile], ["a"]).shape[1] == SHEET_WIDTH
