"""Kinds of ids and of references between the lists."""

import math

from .kinds import REFUSED, SOUND, WARNED, each, entry, kind, lacks, without

_WEIRD = {"null": None, "a list": [1], "an object": {"a": 1}, "NaN": math.nan, "true": True}
_HUGE = 2**53


def ids_of(name, make):
    """Give the entries of a list other ids, and what refers to them too."""
    key = {"images": "image_id", "categories": "category_id"}.get(name)

    def spoil(data):
        new = {e["id"]: make(i, e["id"]) for i, e in enumerate(data.content[name])}
        for found in data.content[name]:
            found["id"] = new[found["id"]]
        for annotation in data.content["annotations"] if key else ():
            annotation[key] = new[annotation[key]]

    return spoil


# Annotations: nothing refers to them, so any id will do.
kind("annotation ids from 0", SOUND, ids_of("annotations", lambda i, _: i))
kind("annotation ids negative", SOUND, ids_of("annotations", lambda i, _: -i - 1))
kind("annotation ids around 0", SOUND, ids_of("annotations", lambda i, _: i - 5))
kind("annotation ids above 2^53", SOUND, ids_of("annotations", lambda i, _: _HUGE + i))
kind("annotation ids above 2^63", SOUND, ids_of("annotations", lambda i, _: 2**63 + i))
kind("annotation ids of 31 digits", SOUND, ids_of("annotations", lambda i, _: 10**30 + i))
kind("annotation ids are texts", SOUND, ids_of("annotations", lambda i, _: f"ann-{i}"))
kind("annotation ids are texts of digits", SOUND, ids_of("annotations", lambda i, _: str(i)))
kind(
    "annotation ids are UUIDs and one is empty", SOUND, ids_of("annotations", lambda i, _: "6f" * i)
)
kind("annotation ids are whole floats", SOUND, ids_of("annotations", lambda i, _: float(i)))
kind("annotation ids are fractions", SOUND, ids_of("annotations", lambda i, _: i + 0.5))
kind(
    "annotation ids of several types", SOUND, ids_of("annotations", lambda i, _: [i, f"{i}"][i % 2])
)
for _what, _value in _WEIRD.items():
    kind(f"annotation id {_what}", SOUND, entry("annotations", 2, id=_value))
    kind(f"annotation ids all {_what}", SOUND, each("annotations", id=_value))
kind("annotation ids missing", SOUND, lacks("annotations", "id"))
kind("annotation id missing", SOUND, lacks("annotations", "id", 3))
kind("annotation id twice in an image", WARNED, entry("annotations", 1, id=101), meaning=without())
kind(
    "annotation id twice in two images", WARNED, entry("annotations", 9, id=101), meaning=without()
)
kind("annotation id that of a crowd", WARNED, entry("annotations", 3, id=112), meaning=without())
kind("annotation ids all the same", WARNED, each("annotations", id=1), meaning=without())
kind(
    "annotation ids from 1 in each image",
    WARNED,
    ids_of("annotations", lambda i, _: i % 3),
    meaning=without(),
)

# Images: labels too.
for _name in ("images", "categories"):
    _one = {"images": "image", "categories": "category"}[_name]
    kind(f"{_one} ids from 0", SOUND, ids_of(_name, lambda i, _: i))
    kind(f"{_one} ids negative", SOUND, ids_of(_name, lambda i, _: i - 9))
    kind(f"{_one} ids above 2^53", SOUND, ids_of(_name, lambda i, _: _HUGE + i))
    kind(f"{_one} ids above 2^63", SOUND, ids_of(_name, lambda i, _: 2**63 + i))
    kind(f"{_one} ids are texts", SOUND, ids_of(_name, lambda i, _: f"id-{i}"))
    kind(f"{_one} ids are texts of digits", SOUND, ids_of(_name, lambda i, _: f"00{i}"))
    kind(f"{_one} ids are whole floats", SOUND, ids_of(_name, lambda _, key: float(key)))
    kind(f"{_one} ids are fractions", REFUSED, ids_of(_name, lambda i, _: i + 0.5))
    kind(
        f"{_one} ids of several types",
        SOUND,
        ids_of(_name, lambda i, _: [i, f"x{i}"][i % 2]),
        may_differ=True,  # numbers and texts have no common order
    )
    for _what, _value in _WEIRD.items():
        kind(
            f"{_one} id {_what}", REFUSED, ids_of(_name, lambda i, k, v=_value: v if i == 1 else k)
        )
    kind(f"{_one} ids all null", REFUSED, ids_of(_name, lambda *_: None))
    kind(f"{_one} id missing", REFUSED, lacks(_name, "id", 1))
    kind(f"{_one} id twice", REFUSED, ids_of(_name, lambda i, k: 4 if i < 2 else k))

kind("category ids descending", SOUND, ids_of("categories", lambda i, _: 9 - i), may_differ=True)
kind("category ids with large gaps", SOUND, ids_of("categories", lambda i, _: 10**i))

_references = {"image_id": "an unlisted image", "category_id": "an unlisted category"}
for _key, _unknown in _references.items():
    kind(f"{_key} of {_unknown}", REFUSED, entry("annotations", 0, **{_key: 777}))
    kind(f"{_key} all of {_unknown}", REFUSED, each("annotations", **{_key: 777}))
    kind(f"{_key} of a crowd of {_unknown}", REFUSED, entry("annotations", 11, **{_key: 777}))
    kind(f"{_key} missing", REFUSED, lacks("annotations", _key, 4))
    kind(f"{_key} missing in all", REFUSED, lacks("annotations", _key))
    kind(f"{_key} null", REFUSED, entry("annotations", 4, **{_key: None}))
    kind(f"{_key} a list", REFUSED, entry("annotations", 4, **{_key: [7]}))
    kind(f"{_key} an object", REFUSED, entry("annotations", 4, **{_key: {"id": 7}}))
    kind(f"{_key} NaN", REFUSED, entry("annotations", 4, **{_key: math.nan}))
    kind(
        f"{_key} as texts of the ids",
        REFUSED,
        each("annotations", **{_key: lambda _, e, k=_key: str(e[k])}),
    )
    kind(
        f"{_key} as whole floats of the ids",
        SOUND,
        each("annotations", **{_key: lambda _, e, k=_key: float(e[k])}),
    )
    kind(f"{_key} is the name", REFUSED, each("annotations", **{_key: "cat"}))
