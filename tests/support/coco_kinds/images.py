"""Kinds of entries of images, of their files, and of the lists as wholes."""

import copy
import math
import os
import unicodedata

import numpy as np
from PIL import Image

from .kinds import (
    REFUSED,
    REPAIRED,
    SOUND,
    WARNED,
    Data,
    each,
    entry,
    kind,
    lacks,
    top,
    without,
)


def image(**changes):
    return entry("images", 1, **changes)


def file_named(listed, stored=None):
    """List the second image under a name, and store it under this or another."""

    def spoil(data: Data):
        data.content["images"][1]["file_name"] = listed
        target = data.images / (stored or listed)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(data.images / "b.png", target)

    return spoil


def stored_as(make, name="b.png"):
    """Replace the second image's file by what is made of its picture and path."""

    def spoil(data: Data):
        path = data.images / "b.png"
        with Image.open(path) as picture:
            picture.load()
        path.unlink()
        data.content["images"][1]["file_name"] = name
        make(picture, data.images / name)

    return spoil


# Sizes.
for _key in ("height", "width"):
    for _what, _value in {
        "missing": ...,
        "null": None,
        "a word": "tall",
        "a text of a number": "64",
        "a fraction": 64.5,
        "0": 0,
        "negative": -64,
        "NaN": math.nan,
        "infinite": math.inf,
        "true": True,
        "a list": [64],
        "of 400 digits": 10**400,
        "of 1e9": 10**9,
        "one too many": 65,
        "twice": 128,
    }.items():
        _spoil = lacks("images", _key, 1) if _value is ... else image(**{_key: _value})
        kind(f"image {_key} {_what}", REFUSED, _spoil)
kind(
    "image sizes whole floats",
    SOUND,
    each("images", width=lambda _, e: float(e["width"]), height=lambda _, e: float(e["height"])),
)
kind(
    "image sizes texts of numbers",
    REFUSED,
    each("images", width=lambda _, e: str(e["width"]), height=lambda _, e: str(e["height"])),
)
kind("image sizes missing", REFUSED, lacks("images", "width"), lacks("images", "height"))
kind("image width and height swapped", REFUSED, entry("images", 0, width=48, height=64))
kind(
    "image sizes all swapped",
    REFUSED,
    lambda data: [e.update(width=e["height"], height=e["width"]) for e in data.content["images"]],
)
kind(
    "image sizes of half the files",
    REFUSED,
    each("images", width=lambda _, e: e["width"] // 2, height=lambda _, e: e["height"] // 2),
)
kind(
    "image sizes and coordinates of half the files",
    REFUSED,
    each("images", width=lambda _, e: e["width"] // 2, height=lambda _, e: e["height"] // 2),
    each("annotations", bbox=lambda _, e: [v / 2 for v in e["bbox"]]),
    base="boxes",
)

# Names.
for _what, _value in {
    "null": None,
    "a number": 7,
    "empty": "",
    "a list": ["b.png"],
    "of an absent file": "absent.png",
    "of a folder": ".",
    "of the parent folder": "..",
    "of 300 characters": "b" * 300 + ".png",
    "with a null byte": "b\0.png",
    "a lone surrogate": "\ud800.png",
    "of an address": "http://example.invalid/b.png",
    "with a blank at its end": "b.png ",
    "of a device": "/dev/zero",
    "without its suffix": "b",
}.items():
    kind(f"file name {_what}", REFUSED, image(file_name=_value))
kind("file names missing", REFUSED, lacks("images", "file_name"))
kind("file name in a subfolder", SOUND, file_named("sub/folder/b.png"))
kind("file name from here", SOUND, file_named("./b.png", "b.png"))
kind("file name by way of the parent folder", SOUND, file_named("../images/b.png", "b.png"))
kind(
    "file name absolute",
    SOUND,
    lambda data: data.content["images"][1].update(file_name=str(data.images / "b.png")),
)
kind(
    "file name with spaces and signs",
    SOUND,
    file_named("b 1 (2) [3] {4} 'x' \"y\" 100%, ü, 狗.png"),
)
kind("file name with a line break", SOUND, file_named("b\n1.png"))
kind("file name with a tab", SOUND, file_named("b\t1.png"))
kind("file name not of UTF-8", SOUND, file_named("b\udcff.png"))
kind("file name with backslashes, as on Windows", REPAIRED, file_named("sub\\b.png", "sub/b.png"))
kind("file name that holds a backslash", SOUND, file_named("sub\\b.png"))
kind("file name in another case", REPAIRED, file_named("B.PNG", "b.png"))
kind("file name of another suffix", REFUSED, file_named("b.jpg", "b.png"))
kind("file name with %20", REPAIRED, file_named("b%20c.png", "b c.png"))
kind(
    "file name in another Unicode form",
    REPAIRED,
    file_named(unicodedata.normalize("NFC", "bé.png"), unicodedata.normalize("NFD", "bé.png")),
)
kind(
    "file listed twice",
    WARNED,
    lambda data: data.content["images"].append({**data.content["images"][0], "id": 90}),
)


# Files.
def _sixteen_bits(picture, shift):
    return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) << shift)


kind("image file empty", REFUSED, stored_as(lambda _, path: path.write_bytes(b"")))
kind("image file a text", REFUSED, stored_as(lambda _, path: path.write_text("<html>404</html>")))
kind(
    "image file cut off",
    REFUSED,
    stored_as(lambda p, path: (p.save(path, "BMP"), path.write_bytes(path.read_bytes()[:-900]))),
    late=True,
)
kind("image file a folder", REFUSED, stored_as(lambda _, path: path.mkdir()))
kind("image file a FIFO", REFUSED, stored_as(lambda _, path: os.mkfifo(path)))
kind(
    "image file a link to nothing",
    REFUSED,
    stored_as(lambda _, path: path.symlink_to("nothing.png")),
)
kind("image file a link to itself", REFUSED, stored_as(lambda _, path: path.symlink_to("b.png")))
kind(
    "image file a link to a device",
    REFUSED,
    stored_as(lambda _, path: path.symlink_to("/dev/zero")),
)
kind(
    "image file of 16 bits",
    SOUND,
    stored_as(lambda p, path: _sixteen_bits(p, 8).save(path)),
    may_differ=True,
)
kind(
    "image file of 12 of 16 bits",
    REFUSED,
    stored_as(lambda p, path: _sixteen_bits(p, 4).save(path)),
    late=True,
)
kind(
    "image file of another size", REFUSED, stored_as(lambda p, path: p.resize((32, 32)).save(path))
)
for _what, _mode, _name in (
    ("RGBA", "RGBA", "b.png"),
    ("a JPEG", "RGB", "b.jpg"),
    ("a CMYK JPEG", "CMYK", "b.jpeg"),
    ("a BMP", "RGB", "b.bmp"),
    ("a TIFF", "RGB", "b.tiff"),
    ("a WebP", "RGB", "b.webp"),
    ("a JPEG called PNG", "RGB", "b.png"),
):
    _format = {"a JPEG called PNG": "JPEG"}.get(_what)
    kind(
        f"image file {_what}",
        SOUND,
        stored_as(lambda p, path, m=_mode, f=_format: p.convert(m).save(path, f), _name),
        may_differ=True,
    )
kind(
    "image file with a palette",
    SOUND,
    stored_as(lambda p, path: p.quantize(64).save(path)),
    may_differ=True,
)


def _turned(picture, path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


for _suffix in ("jpg", "png", "tiff", "webp"):
    kind(
        f"image file turned upright by EXIF, {_suffix}",
        SOUND,
        stored_as(_turned, f"b.{_suffix}"),
        may_differ=True,
    )


# Lists.
kind("images empty", REFUSED, top(images=[]))
kind("images null", REFUSED, top(images=None))
kind(
    "images an object",
    REFUSED,
    lambda data: data.content.update(images={e["id"]: e for e in data.content["images"]}),
)
kind("images missing", REFUSED, lambda data: data.content.pop("images"))
kind("image null", REFUSED, lambda data: data.content["images"].append(None))
kind("image a text", REFUSED, lambda data: data.content["images"].append("b.png"))
kind("image an empty object", REFUSED, lambda data: data.content["images"].append({}))
kind(
    "image listed twice",
    REFUSED,
    lambda data: data.content["images"].append(dict(data.content["images"][0])),
)
kind("image id twice for two files", REFUSED, entry("images", 0, id=7))
kind(
    "images in another order", SOUND, lambda data: data.content["images"].reverse(), may_differ=True
)
kind(
    "images without annotations, three of five",
    WARNED,
    lambda data: data.content.update(annotations=data.content["annotations"][:5]),
    may_differ=True,
)
kind("annotations empty", WARNED, top(annotations=[]), trains=False)
kind("annotations null", REFUSED, top(annotations=None))
kind(
    "annotations an object",
    REFUSED,
    lambda data: data.content.update(annotations={"a": data.content["annotations"]}),
)
kind("annotations a text", REFUSED, top(annotations="see other file"))
kind("annotations missing", WARNED, lambda data: data.content.pop("annotations"), trains=False)
for _what, _value in {
    "null": None,
    "a text": "x",
    "a number": 3,
    "a list": [1],
    "an empty object": {},
}.items():
    kind(
        f"annotation {_what}", REFUSED, lambda data, v=_value: data.content["annotations"].append(v)
    )
kind(
    "annotations in another order",
    SOUND,
    lambda data: data.content["annotations"].reverse(),
    may_differ=True,
)
kind("annotations of another split", REFUSED, each("annotations", image_id=lambda i, _: 100 + i))
kind(
    "annotations sorted by category",
    SOUND,
    lambda data: data.content["annotations"].sort(key=lambda a: a["category_id"]),
    may_differ=True,
)


def copies(count, *indexes):
    """Repeat annotations with ids of their own."""

    def spoil(data):
        annotations = data.content["annotations"]
        for index in indexes or range(len(annotations)):
            for _ in range(count):
                annotations.append(
                    {**copy.deepcopy(annotations[index]), "id": 1000 + len(annotations)}
                )

    return spoil


kind("every annotation twice", WARNED, copies(1))
kind("an annotation twice", WARNED, copies(1, 0))
# Of 1004 cats and of 154 dogs 100 count in one image and the others elsewhere: so much recall.
kind("an annotation a thousand times", WARNED, copies(1000, 0), ap=100 * (11 / 101 + 2) / 3)


def _many(data):
    """150 objects in the second image, ten by fifteen."""
    sound = data.content["annotations"]
    kept = [a for a in sound if a["image_id"] != 7]
    for i in range(150):
        x, y = 4.0 * (i % 15), 6.0 * (i // 15)
        outline = [x, y, x + 3, y, x + 3, y + 5, x, y + 5]
        kept.append(
            {
                "id": 500 + i,
                "image_id": 7,
                "category_id": 7,
                "iscrowd": 0,
                "area": 15,
                "bbox": [x, y, 3, 5],
                "segmentation": [outline],
            }
        )
    data.content["annotations"] = kept


kind("150 objects in an image", WARNED, _many, ap=100 * (68 / 101 + 2) / 3)


def _only(*indexes):
    def spoil(data):
        data.content["annotations"] = [data.content["annotations"][i] for i in indexes]

    return spoil


kind("one annotation", WARNED, _only(0), may_differ=True)
kind(
    "an image whose objects have no pixel",
    WARNED,
    *(entry("annotations", i, bbox=[5, 5, 0, 0]) for i in (9, 10)),
    meaning=without(9, 10),
)
kind("an image whose picture is black", SOUND, stored_as(lambda p, path: p.save(path)))
