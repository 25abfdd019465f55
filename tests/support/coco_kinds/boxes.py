"""Kinds of boxes, of files with masks and without."""

import math

from .kinds import ITSELF, REFUSED, SOUND, WARNED, entry, kind, lacks, without


def box(value, index=0):
    return entry("annotations", index, bbox=value)


def boxes(make):
    """Replace all boxes by what is made of x, y, width, height and the image's width and height."""

    def spoil(data):
        size = {i["id"]: (i["width"], i["height"]) for i in data.content["images"]}
        for annotation in data.content["annotations"]:
            annotation["bbox"] = make(*annotation["bbox"], *size[annotation["image_id"]])

    return spoil


_MALFORMED = {
    "null": None,
    "empty": [],
    "of 3 numbers": [4, 5, 20],
    "of 5 numbers": [4, 5, 20, 20, 0],
    "of 8 numbers": [4, 5, 24, 5, 24, 25, 4, 25],
    "a text": "4, 5, 20, 20",
    "a number": 7,
    "true": True,
    "nested": [[4, 5, 20, 20]],
    "an object": {"x": 4, "y": 5, "width": 20, "height": 20},
    "of words": ["left", "top", "width", "height"],
    "with NaN": [math.nan, 5, 20, 20],
    "all NaN": [math.nan] * 4,
    "of infinite width": [4, 5, math.inf, 20],
    "from minus infinity": [-math.inf, 5, 20, 20],
    "with null": [4, 5, None, 20],
    "with a list": [4, 5, [20], 20],
    "with true": [4, 5, True, 20],
    "of 1e308": [4, 5, 1e308, 1e308],
    "of 400 digits": [4, 5, 10**400, 20],
    "of negative width": [24, 5, -20, 20],
    "of negative height": [4, 25, 20, -20],
    "wholly right of the image": [900, 5, 20, 20],
}
for _what, _value in _MALFORMED.items():
    kind(f"box {_what}", REFUSED, box(_value))
    if _what not in ("of 8 numbers", "nested", "true", "a number"):
        kind(f"box without mask {_what}", REFUSED, box(_value), base="boxes")
kind("box missing", REFUSED, lacks("annotations", "bbox", 0))
kind("boxes missing", REFUSED, lacks("annotations", "bbox"))
kind("box without mask missing", REFUSED, lacks("annotations", "bbox", 0), base="boxes")
kind("box of a crowd null", REFUSED, box(None, 11))
kind("box of a crowd NaN", REFUSED, box([math.nan] * 4, 11))
kind("box of a crowd missing", REFUSED, lacks("annotations", "bbox", 11))

for _base in ("polygons", "boxes"):
    _end = "" if _base == "polygons" else " without masks"
    _options = {"base": _base}
    _left_out = {"base": _base, "meaning": without(0, base=_base)}
    kind(f"box of width 0{_end}", WARNED, box([4, 5, 0, 20]), **_left_out)
    kind(f"box of height 0{_end}", WARNED, box([4, 5, 20, 0]), **_left_out)
    kind(f"box wholly above the image{_end}", WARNED, box([4, -90, 20, 20]), **_left_out)
    kind(f"box wholly right of the image by 2{_end}", WARNED, box([66, 5, 20, 20]), **_left_out)
    kind(f"box of size 0{_end}", WARNED, box([0, 0, 0, 0]), **_left_out)
    kind(f"boxes are floats{_end}", SOUND, boxes(lambda *b: [float(v) for v in b[:4]]), **_options)
    kind(f"box of texts of numbers{_end}", REFUSED, box(["4", "5", "20", "20"]), **_options)
    kind(
        f"boxes of texts of numbers{_end}",
        REFUSED,
        boxes(lambda *b: list(map(str, b[:4]))),
        **_options,
    )
    kind(
        f"boxes are fractions of the image{_end}",
        REFUSED,
        boxes(lambda x, y, w, h, W, H: [x / W, y / H, w / W, h / H]),
        **_options,
    )
    kind(
        f"boxes are percent of the image{_end}",
        REFUSED if _base == "polygons" else WARNED,
        boxes(lambda x, y, w, h, W, H: [100 * x / W, 100 * y / H, 100 * w / W, 100 * h / H]),
        **_options,
    )
    kind(
        f"boxes are corners{_end}",
        REFUSED if _base == "polygons" else WARNED,
        boxes(lambda x, y, w, h, *_: [x, y, x + w, y + h]),
        **_options,
    )
    kind(f"box beyond the image by 3{_end}", WARNED, box([30, 8, 37, 32], 1), **_options)
    kind(f"box beyond the image by 1000{_end}", REFUSED, box([30, 8, 1034, 32], 1), **_options)
    kind(f"box of 1e9 pixels{_end}", REFUSED, box([4, 5, 1e9, 1e9]), **_options)
kind(
    "box beyond the image by half a pixel",
    SOUND,
    box([30, 8, 34.5, 32], 1),
    base="boxes",
    meaning=ITSELF,
)
kind("boxes with minus zero", SOUND, box([-0.0, 5, 24, 20]), base="boxes", meaning=ITSELF)
kind(
    "box of one pixel",
    SOUND,
    entry("annotations", 0, bbox=[4, 5, 1, 1], area=1),
    base="boxes",
    meaning=ITSELF,
)
kind(
    "boxes of fractions of pixels",
    SOUND,
    boxes(lambda x, y, w, h, *_: [x + 0.25, y + 0.5, w - 0.5, h - 0.75]),
    meaning=ITSELF,
)
kind("boxes as y, x, height, width", REFUSED, boxes(lambda x, y, w, h, *_: [y, x, h, w]))
kind("boxes as centers", REFUSED, boxes(lambda x, y, w, h, *_: [x + w / 2, y + h / 2, w, h]))
kind("one box as corners", WARNED, box([36, 20, 60, 48], 8))
kind("one box elsewhere than its mask", WARNED, box([40, 40, 8, 8], 0))
kind(
    "boxes of floats in 17 digits",
    SOUND,
    boxes(lambda x, y, w, h, *_: [x + 1e-9, y, w + 1e-9, h]),
    meaning=ITSELF,
)
kind(
    "box of 1e-9 pixels",
    WARNED,
    box([4, 5, 1e-9, 1e-9]),
    base="boxes",
    meaning=without(0, base="boxes"),
)
