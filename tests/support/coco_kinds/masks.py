"""Kinds of masks: polygons and run lengths."""

import math

import numpy as np

from .kinds import ITSELF, REFUSED, SOUND, WARNED, compressed, each, entry, kind, lacks, without

SQUARE = [4.0, 5.0, 24.0, 5.0, 24.0, 25.0, 4.0, 25.0]  # of annotation 0
POINTS = [[4, 5], [24, 5], [24, 25], [4, 25]]


def mask(value, index=0, **changes):
    return entry("annotations", index, segmentation=value, **changes)


def masks(make, *, also_boxes=False):
    """Replace all polygons, and perhaps the boxes, by what is made of x, y and the image's size."""

    def spoil(data):
        size = {i["id"]: (i["width"], i["height"]) for i in data.content["images"]}
        for annotation in data.content["annotations"]:
            if isinstance(annotation["segmentation"], dict):
                continue
            parts = []
            for part in annotation["segmentation"]:
                points = [
                    make(*p, *size[annotation["image_id"]])
                    for p in np.reshape(part, (-1, 2)).tolist()
                ]
                parts.append([float(v) for point in points for v in point])
            annotation["segmentation"] = parts
            if also_boxes:
                xs = [v for part in parts for v in part[::2]]
                ys = [v for part in parts for v in part[1::2]]
                annotation["bbox"] = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]

    return spoil


def all_masks(make):
    """Replace every list of polygons by what is made of it."""

    def spoil(data):
        for annotation in data.content["annotations"]:
            if isinstance(annotation["segmentation"], list):
                annotation["segmentation"] = make(annotation["segmentation"])

    return spoil


def pairs(part):
    return np.reshape(part, (-1, 2)).tolist()


# Nesting.
kind("polygon not nested", REFUSED, mask(SQUARE))
kind("polygons not nested", REFUSED, all_masks(lambda s: s[0] if len(s) == 1 else s))
kind("polygon of points", REFUSED, mask(POINTS))
kind("polygon of points, nested", REFUSED, mask([POINTS]))
kind("polygons of points", REFUSED, all_masks(lambda s: [pairs(part) for part in s]))
kind("polygon nested too deep", REFUSED, mask([[SQUARE]]))
kind("polygon of objects x, y", REFUSED, mask([{"x": x, "y": y} for x, y in POINTS]))
kind("polygon of an object of lists", REFUSED, mask({"x": [4, 24, 24], "y": [5, 5, 25]}))
kind("polygon a text", REFUSED, mask(str([SQUARE])))
kind("polygon a number", REFUSED, mask(5))
kind("polygon true", REFUSED, mask(True))
kind("polygon of texts of numbers", REFUSED, mask([[str(v) for v in SQUARE]]))
kind("polygon of a text", REFUSED, mask(["4,5,24,5,24,25"]))
kind("polygon an empty object", REFUSED, mask({}))

# Numbers.
for _what, _value in {
    "NaN": math.nan,
    "infinity": math.inf,
    "null": None,
    "a text": "5",
    "true": True,
    "a list": [5],
    "400 digits": 10**400,
    "1e300": 1e300,
}.items():
    kind(f"polygon with {_what}", REFUSED, mask([[4, _value, *SQUARE[2:]]]))
kind("polygon with 1e9", REFUSED, mask([[4, 5, 1e9, 5, 24, 25]]))
kind("polygon with -1e9", REFUSED, mask([[4, 5, -1e9, 5, 24, 25]]))
kind("polygon to 1e9 both ways", REFUSED, mask([[0, 0, 1e9, 0, 1e9, 1e9, 0, 1e9]]))
kind("polygon of an odd count", REFUSED, mask([[*SQUARE, 7]]))
kind("polygon of two points", WARNED, mask([[4, 5, 24, 25]]), meaning=without(0))
kind("polygon of one point", WARNED, mask([[4, 5]]), meaning=without(0))
kind("polygon of no point beside a sound one", SOUND, mask([[], SQUARE]))
kind(
    "polygon of two points beside a sound one",
    WARNED,
    mask([[4, 5, 24, 25], SQUARE]),
    meaning=without(),
)
kind("masks empty", REFUSED, mask([]))
kind("masks of an empty polygon", REFUSED, mask([[]]))
kind("mask null", REFUSED, mask(None))
kind("mask missing", REFUSED, lacks("annotations", "segmentation", 0))
kind("all masks empty", SOUND, each("annotations", segmentation=[]), base="boxes")
kind("all masks of an empty polygon", SOUND, each("annotations", segmentation=[[]]), base="boxes")
kind("all masks null", SOUND, each("annotations", segmentation=None), base="boxes")

# Shapes.
kind("polygon closed by its first point", SOUND, mask([[*SQUARE, 4, 5]]), may_differ=True)
kind(
    "polygon the other way round",
    SOUND,
    mask([[v for p in reversed(POINTS) for v in p]]),
    may_differ=True,
)
kind("polygon of whole numbers", SOUND, mask([[int(v) for v in SQUARE]]))
kind("polygon twice", SOUND, mask([SQUARE, SQUARE]), may_differ=True)
kind("polygons that overlap", SOUND, mask([SQUARE, [4, 5, 10, 5, 10, 20]]), may_differ=True)
kind("polygon crossing itself", SOUND, mask([[4, 5, 24, 25, 24, 5, 4, 25]]), meaning=ITSELF)
kind("polygon of 256 parts", SOUND, mask([SQUARE] * 256), may_differ=True)
kind("polygon of 257 parts", SOUND, mask([SQUARE] * 257), may_differ=True)
kind("polygon of 2000 parts", SOUND, mask([SQUARE] * 2000), may_differ=True)
kind("polygon of 20000 points", SOUND, mask([SQUARE[:6] + [4.0, 25.0] * 20000]), meaning=ITSELF)
kind("polygon on a line", WARNED, mask([[4, 5, 10, 5, 24, 5]]), meaning=without(0))
kind("polygon of one place", WARNED, mask([[4, 5, 4, 5, 4, 5]]), meaning=without(0))
kind(
    "polygon of less than a pixel",
    WARNED,
    mask([[4.1, 5.1, 4.2, 5.1, 4.2, 5.2]], bbox=[4.1, 5.1, 0.1, 0.1]),
    meaning=without(0),
)
kind("polygon partly outside", WARNED, mask([[4, 5, 94, 5, 94, 25, 4, 25]], bbox=[4, 5, 90, 20]))
kind(
    "polygon wholly outside, with its box",
    WARNED,
    mask([[104, 5, 124, 5, 124, 25, 104, 25]], bbox=[104, 5, 20, 20]),
    meaning=without(0),
)
kind(
    "polygon wholly outside, its box inside",
    WARNED,
    mask([[104, 5, 124, 5, 124, 25, 104, 25]]),
    meaning=without(0),
)
kind("polygon with a part wholly outside", REFUSED, mask([SQUARE, [404, 5, 424, 5, 424, 25]]))
kind(
    "polygon beyond the image by half a pixel",
    SOUND,
    mask([[30, 8, 64.5, 8, 64.5, 40, 30, 40]], 1, bbox=[30, 8, 34.5, 32]),
    meaning=ITSELF,
)
kind("polygon far from its box", WARNED, mask([[44, 30, 60, 30, 60, 46, 44, 46]]))
kind("polygons as y, x", REFUSED, masks(lambda x, y, *_: (y, x)))
kind("polygons as fractions of the image", REFUSED, masks(lambda x, y, w, h: (x / w, y / h)))
kind(
    "polygons and boxes as fractions of the image",
    REFUSED,
    masks(lambda x, y, w, h: (x / w, y / h), also_boxes=True),
)
kind(
    "coordinates of half the resolution",
    WARNED,
    masks(lambda x, y, *_: (x / 2, y / 2), also_boxes=True),
)
kind(
    "coordinates of a tenth of the resolution",
    WARNED,
    masks(lambda x, y, *_: (x / 10, y / 10), also_boxes=True),
)
kind(
    "coordinates of twice the resolution",
    WARNED,
    masks(lambda x, y, *_: (2 * x, 2 * y), also_boxes=True),
)
kind(
    "polygons of fractions of pixels",
    SOUND,
    masks(lambda x, y, *_: (x + 0.25, y + 0.25), also_boxes=True),
    meaning=ITSELF,
)
kind("a mask beside boxes alone", REFUSED, mask([SQUARE]), base="boxes")
kind(
    "one mask as run lengths",
    SOUND,
    lambda data: data.content["annotations"][0].update(
        segmentation={"size": [48, 64], "counts": rectangle(48, 64, 4, 5, 24, 25)}
    ),
    may_differ=True,
)


def rectangle(height, width, x0, y0, x1, y1):
    """Return the runs of a rectangle."""
    counts = [height * x0 + y0]
    for _ in range(x0, x1 - 1):
        counts += [y1 - y0, height - (y1 - y0)]
    return [*counts, y1 - y0, height * width - sum(counts) - (y1 - y0)]


RLE = {"size": [48, 64], "counts": rectangle(48, 64, 4, 5, 24, 25)}  # of annotation 0
CROWD = 11


def rle(**changes):
    return mask({**RLE, **changes})


def all_rle(make):
    def spoil(data):
        for annotation in data.content["annotations"]:
            annotation["segmentation"] = make(annotation["segmentation"])

    return spoil


_RLE = {"base": "rle"}
kind("RLE compressed", SOUND, all_rle(compressed), **_RLE)
kind("RLE one compressed", SOUND, mask(compressed(RLE)), **_RLE)
kind("RLE with further keys", SOUND, rle(id=5, format="coco_rle"), **_RLE)
kind("RLE with empty runs", SOUND, rle(counts=[*RLE["counts"], 0, 0]), **_RLE)
kind("RLE that begins with empty runs", SOUND, rle(counts=[0, 0, *RLE["counts"]]), **_RLE)
for _what, _changes in {
    "of width, height": {"size": [64, 48]},
    "of another size": {"size": [24, 32], "counts": [100, 20, 648]},
    "of another size that its runs fill": {"size": [48, 64], "counts": [100, 20, 648]},
    "of a size of texts": {"size": ["48", "64"]},
    "of a size of three": {"size": [48, 64, 1]},
    "of size null": {"size": None},
    "of a negative size": {"size": [-48, -64]},
    "of a huge size": {"size": [10**9, 10**9]},
    "with counts of texts": {"counts": [str(v) for v in RLE["counts"]]},
    "with counts of fractions": {"counts": [v + 0.5 for v in RLE["counts"]]},
    "with a negative count": {"counts": [-5, 200, 3072 - 195]},
    "with counts null": {"counts": None},
    "with a count null": {"counts": [100, None, 2972]},
    "with counts empty": {"counts": []},
    "with an empty text": {"counts": ""},
    "with counts nested": {"counts": [RLE["counts"]]},
    "with counts a number": {"counts": 3072},
    "with counts true": {"counts": [True, 3071]},
    "with counts NaN": {"counts": [math.nan, 3071]},
    "with counts of 2^40": {"counts": [2**40, 5]},
    "that sums to less": {"counts": [100, 20]},
    "that sums to more": {"counts": [100, 4000]},
    "of garbage": {"counts": "hello world"},
    "of garbage not ASCII": {"counts": "größer"},
    "of control characters": {"counts": "\x00\x01\x7f"},
    "cut off": {"counts": compressed(RLE)["counts"][:-3]},
    "of a negative run in a text": {"counts": "O" * 12},
    "of a million characters": {"counts": "o" * 10**6},
    "of base64": {"counts": "eNpjYGBgAAAABAAB"},
}.items():
    kind(f"RLE {_what}", REFUSED, rle(**_changes), **_RLE)
    if "of" not in _what:
        kind(f"RLE of a crowd {_what}", REFUSED, mask({**RLE, "size": [64, 64], **_changes}, CROWD))
kind("RLE without size", REFUSED, mask({"counts": RLE["counts"]}), **_RLE)
kind("RLE without counts", REFUSED, mask({"size": RLE["size"]}), **_RLE)
kind("RLE of a size of whole floats", SOUND, rle(size=[48.0, 64.0]), **_RLE)
kind(
    "RLE with counts of whole floats",
    REFUSED,
    rle(counts=[float(v) for v in RLE["counts"]]),
    **_RLE,
)
kind("RLE of an empty mask", WARNED, rle(counts=[48 * 64]), meaning=without(0, base="rle"), **_RLE)
kind(
    "RLE of a full mask",
    SOUND,
    mask({**RLE, "counts": [0, 48 * 64]}, area=48 * 64, bbox=[0, 0, 64, 48]),
    meaning=ITSELF,
    **_RLE,
)
kind(
    "RLE beside polygons",
    SOUND,
    all_rle(lambda s: [SQUARE] if s["counts"] == RLE["counts"] else s),
    may_differ=True,
    **_RLE,
)
kind("RLE far from its box", WARNED, rle(counts=rectangle(48, 64, 44, 30, 60, 46)), **_RLE)
