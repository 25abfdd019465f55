"""Kinds of areas, crowd flags, keypoints and categories."""

import math

from .kinds import (
    REFUSED,
    SOUND,
    WARNED,
    each,
    entry,
    kind,
    lacks,
    sound_content,
    top,
    without,
)

_CROWDED = 7  # first annotation of the image that is crowded in some kinds


def crowd(*indexes):
    def spoil(data):
        for index in indexes:
            data.content["annotations"][index]["iscrowd"] = 1

    return spoil


# Areas are computed where they cannot be used.
for _what, _value in {
    "null": None,
    "NaN": math.nan,
    "infinite": math.inf,
    "0": 0,
    "negative": -400,
}.items():
    kind(f"area {_what}", WARNED, entry("annotations", 0, area=_value), meaning=without())
    kind(f"areas all {_what}", WARNED, each("annotations", area=_value), meaning=without())
    kind(
        f"areas without masks all {_what}",
        WARNED,
        each("annotations", area=_value),
        base="boxes",
        meaning=without(base="boxes"),
    )
for _what, _value in {
    "a text": "big",
    "an empty text": "",
    "a list": [400],
    "an object": {"value": 400},
    "true": True,
}.items():
    kind(f"area {_what}", REFUSED, entry("annotations", 0, area=_value))
kind("areas texts of numbers", REFUSED, each("annotations", area=lambda _, e: str(e["area"])))
kind("area of 400 digits", WARNED, entry("annotations", 0, area=10**400), meaning=without())
kind("area of 1e308", WARNED, entry("annotations", 0, area=1e308), meaning=without())
kind("area missing", WARNED, lacks("annotations", "area", 0), meaning=without())
kind("areas missing", WARNED, lacks("annotations", "area"), meaning=without())
kind("area of a crowd missing", WARNED, lacks("annotations", "area", 11), meaning=without())
kind(
    "areas a hundred times",
    WARNED,
    each("annotations", area=lambda _, e: 100 * e["area"]),
    meaning=without(),
)
kind(
    "areas a hundredth",
    WARNED,
    each("annotations", area=lambda _, e: e["area"] / 100),
    meaning=without(),
)
kind(
    "areas fractions of the image",
    WARNED,
    each("annotations", area=lambda _, e: e["area"] / 3072),
    meaning=without(),
)
kind(
    "areas of the boxes",
    WARNED,
    each("annotations", area=lambda _, e: e["bbox"][2] * e["bbox"][3]),
    meaning=without(),
)
kind("areas all 1", WARNED, each("annotations", area=1), meaning=without())

# Crowds.
for _what, _value in {
    "2": 2,
    "-1": -1,
    "a text": "0",
    "a word": "no",
    "a list": [0],
    "NaN": math.nan,
    "a fraction": 0.5,
}.items():
    kind(f"iscrowd {_what}", REFUSED, entry("annotations", 0, iscrowd=_value))
    kind(
        f"iscrowd {_what} in a file of boxes",
        REFUSED,
        entry("annotations", 0, iscrowd=_value),
        base="boxes",
    )
kind("iscrowd false", SOUND, each("annotations", iscrowd=lambda _, e: bool(e["iscrowd"])))
kind("iscrowd whole floats", SOUND, each("annotations", iscrowd=lambda _, e: float(e["iscrowd"])))
kind(
    "iscrowd null where 0",
    WARNED,
    each("annotations", iscrowd=lambda _, e: e["iscrowd"] or None),
    meaning=without(),
)
kind(
    "iscrowd missing where 0",
    WARNED,
    lambda data: [a.pop("iscrowd") for a in data.content["annotations"] if not a["iscrowd"]],
    meaning=without(),
)
kind("all crowd", REFUSED, each("annotations", iscrowd=1))
kind("all crowd but one", WARNED, crowd(*range(10)))
kind("eight of twelve crowd", WARNED, crowd(*range(1, 8)))
kind("crowd with polygons", WARNED, crowd(3))
kind("crowd without mask", WARNED, entry("annotations", 11, segmentation=[]), meaning=without())
kind("crowd whose box is of size 0", WARNED, entry("annotations", 11, bbox=[4, 44, 0, 18]))
kind("an image of crowds alone", WARNED, crowd(9, 10))
kind("a category of crowds alone", WARNED, crowd(2, 4, 7))
for _value in (0, False, None):
    kind(f"ignore {_value}", SOUND, each("annotations", ignore=_value))
for _what, _value in {"1": 1, "true": True, "a text": "yes"}.items():
    kind(f"ignore {_what}", REFUSED, entry("annotations", 0, ignore=_value))

# Keys that are not read, or only for keypoints.
kind(
    "further keys of annotations",
    SOUND,
    each("annotations", attributes={"a": [1]}, score=0.5, track_id="x"),
)
kind(
    "further keys of images",
    SOUND,
    each("images", license=1, date_captured="", coco_url=None, extra={}),
)
kind(
    "further keys of categories",
    SOUND,
    each("categories", keypoints=["nose"], skeleton=[], isthing=1, color=[1, 2, 3]),
)
kind(
    "keypoints",
    SOUND,
    each("annotations", keypoints=[10, 12, 2] * 3, num_keypoints=3),
    may_differ=True,
)
kind("keypoints null", SOUND, each("annotations", keypoints=None, num_keypoints=0))
kind("keypoints empty", SOUND, each("annotations", keypoints=[], num_keypoints=0))
kind("keypoints texts", SOUND, each("annotations", keypoints="nose", num_keypoints=1))
kind(
    "keypoints of words", SOUND, each("annotations", keypoints=["nose", "eye", 2], num_keypoints=1)
)
kind("keypoints of two numbers", SOUND, each("annotations", keypoints=[[10, 12]], num_keypoints=1))


# Categories.
def categories(make):
    def spoil(data):
        data.content["categories"] = make(data.content["categories"])

    return spoil


def renamed(name):
    """Return the sound content with another name of its second category."""

    def meaning():
        content = sound_content()
        content["categories"][1]["name"] = name
        return content

    return meaning


kind("categories in another order", SOUND, categories(lambda c: c[::-1]))
kind("categories without supercategory", SOUND, lacks("categories", "supercategory"))
kind("category of supercategory null", SOUND, entry("categories", 0, supercategory=None))
kind("categories of another supercategory", SOUND, each("categories", supercategory="none"))
for _what, _value in {
    "null": None,
    "a number": 7,
    "empty": "",
    "a list": ["dog"],
    "an object": {"en": "dog"},
    "true": True,
    "NaN": math.nan,
}.items():
    kind(f"category name {_what}", REFUSED, entry("categories", 1, name=_value))
kind("category names missing", REFUSED, lacks("categories", "name"))
kind("category name missing", REFUSED, lacks("categories", "name", 1))
kind("category names null", REFUSED, each("categories", name=None))
for _what, _value in {
    "of digits": "7",
    "of 10000 characters": "dog" * 3333,
    "with a line break": "dog\nred",
    "with spaces around": " dog ",
    "in Chinese": "狗",
    "of combining characters": "chie\u0301n",
    "with a slash": "dog/AP",
    "with a percent sign": "100% dog %s {0}",
    "true": "true",
    "like a metric": "AP50",
}.items():
    kind(
        f"category name {_what} text",
        SOUND,
        entry("categories", 1, name=_value),
        meaning=renamed(_value),
    )
kind("category name a lone surrogate", REFUSED, entry("categories", 1, name="\ud800"))
kind("category name twice", WARNED, entry("categories", 1, name="cat"))
kind(
    "category name twice but for case",
    SOUND,
    entry("categories", 1, name="Cat"),
    meaning=renamed("Cat"),
)
kind(
    "category without objects",
    WARNED,
    lambda data: data.content["categories"].append({"id": 30, "name": "yak"}),
)
kind(
    "category 0 without objects, as Roboflow's",
    WARNED,
    lambda data: data.content["categories"].insert(
        0, {"id": 0, "name": "animals", "supercategory": "none"}
    ),
)
kind("category null", REFUSED, lambda data: data.content["categories"].append(None))
kind("category a text", REFUSED, categories(lambda c: [e["name"] for e in c]))
kind("category an empty object", REFUSED, lambda data: data.content["categories"].append({}))
kind("categories empty", REFUSED, top(categories=[]))
kind("categories null", REFUSED, top(categories=None))
kind("categories an object", REFUSED, categories(lambda c: {str(e["id"]): e["name"] for e in c}))
kind("categories missing", REFUSED, lambda data: data.content.pop("categories"))
kind("category listed twice", REFUSED, categories(lambda c: [*c, dict(c[0])]))
kind("only one category is used", WARNED, each("annotations", category_id=7))
