"""Image files of every kind that people have: each is read right or refused, by every reader.

`READ` has writers that return the pixels (H, W, 3) that are right, and `REFUSED` writers with a
pattern of what the refusal says.
"""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 6, 9

# By file name.
READ: dict[str, Callable[[Path], np.ndarray]] = {}
REFUSED: dict[str, tuple[str, Callable[[Path], None]]] = {}


def pixels(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def gray(values):
    return np.repeat(np.asarray(values)[:, :, None], 3, axis=2).astype(np.uint8)


def read(name):
    def register(write):
        READ[name] = write
        return write

    return register


def refused(name, pattern):
    def register(write):
        REFUSED[name] = pattern, write
        return write

    return register


def read_as_saved(name, mode="RGB", **options):
    """Register an image that Pillow writes in a mode without loss."""

    @read(name)
    def write(path):
        image = Image.fromarray(pixels()).convert("L" if mode == "LA" else mode).convert(mode)
        image.save(path, **options)
        image = image.convert("RGBA") if mode == "P" else image
        return np.array(image.convert("RGB"))


for _name, _mode in (
    ("rgb.png", "RGB"),
    ("palette.png", "P"),
    ("palette.gif", "P"),
    ("gray.png", "L"),
    ("gray_alpha.png", "LA"),
    ("alpha.png", "RGBA"),
    ("one_bit.png", "1"),
    ("cmyk.tif", "CMYK"),
    ("rgb.bmp", "RGB"),
    ("rgb.ppm", "RGB"),
    ("gray.pgm", "L"),
    ("one_bit.pbm", "1"),
    ("rgb.jp2", "RGB"),
    ("upper.PNG", "RGB"),
    ("a name, with $ and spaces.png", "RGB"),
    ("Größe 猫.png", "RGB"),
    ("x" * 240 + ".png", "RGB"),
    (os.fsdecode(b"no_utf8_\xff.png"), "RGB"),
):
    read_as_saved(_name, _mode)
read_as_saved("lossless.webp", lossless=True)
read_as_saved("transparent.png", "P", transparency=3)
read_as_saved("lzw.tif", compression="tiff_lzw")
read_as_saved("deflate.tif", compression="tiff_adobe_deflate")
read_as_saved("png_inside.jpg", format="PNG")
read_as_saved("damaged_exif.png", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")


def turned(name, orientation, **options):
    @read(name)
    def write(path):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels()).save(path, exif=exif, **options)
        upright = {6: pixels()[::-1].transpose(1, 0, 2), 3: pixels()[::-1, ::-1]}
        return upright[orientation]


turned("turned.png", 6)
turned("turned.tif", 6)
turned("turned_lzw.tif", 6, compression="tiff_lzw")
turned("upside_down.webp", 3, lossless=True)


def several(name, **options):
    @read(name)
    def write(path):
        frames = [Image.fromarray(pixels(seed)) for seed in range(3)]
        if path.suffix == ".gif":
            frames = [frame.quantize(200) for frame in frames]
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        return np.array(frames[0].convert("RGB"))


several("pages.tif")
several("animated.gif", duration=99)
several("animated.png", duration=99)
several("animated.webp", duration=99, lossless=True)


def deep(highest=65535, dtype=np.uint16, channels=1):
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    values = np.random.default_rng(1).integers(0, highest + 1, shape)
    values.flat[0] = highest
    return values.astype(dtype)


for _name, _dtype in (("deep.png", "uint16"), ("deep.tif", "uint16"), ("deep_int32.tif", "int32")):

    @read(_name)
    def _(path, dtype=_dtype):
        Image.fromarray(deep(dtype=dtype)).save(path)
        return gray(deep() >> 8)


@read("deep_black.png")
def _(path):
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint16)).save(path)
    return np.zeros((HEIGHT, WIDTH, 3), np.uint8)


@read("deep_color.png")
def _(path):
    values = deep(channels=3)
    path.write_bytes(cv2.imencode(".png", values[:, :, ::-1])[1])
    return (values >> 8).astype(np.uint8)


def tiff(data, bits, *, more=(), byte_order="<", sides=(HEIGHT, WIDTH)):
    """Return a gray TIFF of one strip; ``more`` are tags (number, type, value)."""
    tags = [(256, 4, sides[1]), (257, 4, sides[0]), (258, 3, bits), (259, 3, 1), (262, 3, 1)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 4, HEIGHT), (279, 4, len(data)), *more]
    rows = b""
    for number, kind, value in sorted(tags):
        layout = f"{byte_order}HHI" + ("I" if kind == 4 else "HH")
        rows += struct.pack(layout, number, kind, 1, *((value,) if kind == 4 else (value, 0)))
    head = (b"II" if byte_order == "<" else b"MM") + struct.pack(
        f"{byte_order}HI", 42, 8 + len(data)
    )
    return head + data + struct.pack(f"{byte_order}H", len(tags)) + rows + bytes(4)


@read("big_endian.tif")
def _(path):
    path.write_bytes(tiff(deep().astype(">u2").tobytes(), 16, byte_order=">"))
    return gray(deep() >> 8)


@read("states_12_bits.tif")
def _(path):
    path.write_bytes(tiff(deep(4095).tobytes(), 16, more=[(281, 3, 4095)]))
    return gray(deep(4095) >> 4)


@read("packed_12_bits.tif")
def _(path):
    values = deep(4095).astype(int)
    data = b""
    for row in values:
        bits = "".join(f"{value:012b}" for value in row)
        bits += "0" * (-len(bits) % 8)
        data += int(bits, 2).to_bytes(len(bits) // 8, "big")
    path.write_bytes(tiff(data, 12))
    return gray(values >> 4)


for _highest in (4095, 65535):

    @read(f"deep_{_highest}.pgm")
    def _(path, highest=_highest):
        """The largest value is stated: it is white."""
        values = deep(highest)
        head = f"P5 {WIDTH} {HEIGHT} {highest}\n".encode()
        path.write_bytes(head + values.astype(">u2").tobytes())
        return gray(np.round(values.astype(float) * 65535 / highest).astype(int) >> 8)


@read("text.ppm")
def _(path):
    numbers = " ".join(map(str, pixels().flat))
    path.write_text(f"P3 {WIDTH} {HEIGHT} 255\n{numbers}\n")
    return pixels()


def is_refused(name, pattern, content):
    @refused(name, pattern)
    def write(path):
        path.write_bytes(content() if callable(content) else content)


def noise():
    return np.random.default_rng(2).integers(0, 256, (120, 90, 3), dtype=np.uint8)


def saved(suffix, array=None, mode=None, **options):
    stream = io.BytesIO()
    image = Image.fromarray(pixels() if array is None else array)
    (image.convert(mode) if mode else image).save(stream, suffix, **options)
    return stream.getvalue()


_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 6\n(executed) (w) file closefile showpage\n"
is_refused("postscript.png", "PostScript or PDF, which is never opened", _EPS)
is_refused("document.png", "PostScript or PDF", b"%PDF-1.7\n" + bytes(99))
is_refused("drawing.png", "web page or drawing", b"<?xml version='1.0'?><svg></svg>")
is_refused("page.jpg", "web page or drawing", b"\n<!DOCTYPE html><html>404</html>")
is_refused("pointer.jpg", "pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\n")
is_refused("empty.png", r"it is empty\); copy it again", b"")
is_refused("text.png", "of none of the formats", b"no image")
is_refused("archive.png", "a zip archive", b"PK\x03\x04" + bytes(99))
is_refused("video.jpg", "a video", bytes(4) + b"ftypisom" + bytes(99))
is_refused("apple_double.png", "macOS keeps beside", b"\x00\x05\x16\x07" + bytes(99))
is_refused("layers.png", "of none of the formats", b"8BPS\x00\x01" + bytes(99))
is_refused("icon.png", "of none of the formats", lambda: saved("ICO"))
is_refused("targa.png", "of none of the formats", lambda: saved("TGA"))
is_refused("wmf.png", "of none of the formats", b"\xd7\xcd\xc6\x9a\x00\x00" + bytes(99))
is_refused("xpm.png", "of none of the formats", b'/* XPM */\nstatic char *a[] = {"1 1 1 1"};')
is_refused("floats.tif", "no known range", lambda: saved("TIFF", np.ones((6, 9), np.float32)))
is_refused("negative.tif", "no known range", lambda: saved("TIFF", np.full((6, 9), -5, np.int32)))
is_refused("twelve_bits.png", "may be of 12 bits", lambda: saved("PNG", deep(4095)))
is_refused("ten_bits.tif", "may be of 10 bits", lambda: saved("TIFF", deep(1000)))
is_refused(
    "twelve_bits_color.png",
    "may be of 12 bits",
    lambda: cv2.imencode(".png", deep(4095, channels=3))[1].tobytes(),
)
is_refused(
    "more_than_stated.tif",
    "says to have 12 bits",
    lambda: tiff(deep().tobytes(), 16, more=[(281, 3, 4095)]),
)
is_refused(
    "raw_photograph.tif",
    "small preview of another page",
    lambda: tiff(bytes(54), 8, more=[(254, 4, 1), (330, 4, 8)]),
)
for _suffix in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000"):
    is_refused(
        f"cut_{_suffix.lower()}.jpg",
        "cannot be read",
        lambda suffix=_suffix: saved(suffix, noise())[:3000],
    )


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(side, *more):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(2**20)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + data + chunk(b"IEND", b"")


_BIG = "2,500,000,000 pixels.*BPT_DET_MAX_PIXELS=2500000000"
is_refused("huge.png", _BIG, lambda: png(50_000))
is_refused("huge.ppm", _BIG, b"P6 50000 50000 255\n" + bytes(999))
is_refused(
    "huge.gif",
    _BIG,
    b"GIF89a"
    + struct.pack("<HHBBB", 50_000, 50_000, 0, 0, 0)
    + b","
    + struct.pack("<HHHHB", 0, 0, 50_000, 50_000, 0)
    + b"\x02\x02\x44\x01\x00;",
)
is_refused(
    "huge.bmp",
    _BIG,
    b"BM"
    + struct.pack("<IHHI", 999, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0)
    + bytes(999),
)
is_refused("huge.tif", _BIG, lambda: tiff(bytes(54), 8, sides=(50_000, 50_000)))
is_refused(
    "text_bomb.png",
    "cannot be read",
    lambda: png(9, *[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**24)))] * 9),
)
is_refused("phone.heic", "HEIC, as phones write it", b"\x00\x00\x00\x18ftypheic" + bytes(99))
is_refused("phone_as.jpg", "HEIC, as phones write it", b"\x00\x00\x00\x18ftypmif1" + bytes(99))


@refused("pipe.png", "a pipe, device or socket")
def _(path):
    os.mkfifo(path)


@refused("socket.png", "a pipe, device or socket")
def _(path):
    folder = os.getcwd()
    os.chdir(path.parent)  # the path of a socket may have 107 bytes
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(folder)


@refused("device.png", "a pipe, device or socket")
def _(path):
    path.symlink_to("/dev/zero")


@refused("folder.png", "it is a folder")
def _(path):
    path.mkdir()


@refused("broken_link.png", "No such file")
def _(path):
    path.symlink_to("nowhere.png")


@refused("circle.png", "cannot be read")
def _(path):
    path.symlink_to(path.name)


# Kinds that a listing of a folder leaves out, before anything is opened.
NOT_LISTED = {"pipe.png", "socket.png", "device.png", "folder.png", "broken_link.png", "circle.png"}


def write_all(folder: Path) -> dict[str, np.ndarray]:
    """Write all files into a folder; returns the right pixels of those that can be read."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, write) in REFUSED.items():
        write(folder / name)
    return {name: write(folder / name) for name, write in READ.items()}
