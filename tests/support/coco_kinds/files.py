"""Kinds of annotation files: encodings, JSON's grammar, and what else lies under the name."""

import gzip
import io
import json
import os
import zipfile

from .kinds import REFUSED, SOUND, Data, kind, sound_content, top


def written(make):
    """Write what is made of the text in place of the file; text or bytes."""

    def spoil(data: Data):
        raw = make(json.dumps(data.content))
        data.raw = raw.encode() if isinstance(raw, str) else raw

    return spoil


def placed(make):
    """Put something else than a file where it should be."""
    return lambda data: make(data.json_file)


def _name(name):
    """Give a category another name."""

    def spoil(data):
        data.content["categories"][1]["name"] = name

    return spoil


def _named(name):
    def meaning():
        content = sound_content()
        _name(name)(Data(content, None))
        return content

    return meaning


def _info(text):
    """Put a text of JSON at a place that nothing reads."""
    return written(lambda whole: whole.replace('"info": {}', f'"info": {text}'))


# Encodings.
kind("file with a byte order mark", SOUND, written(lambda t: t.encode("utf-8-sig")))
kind("file in UTF-16", SOUND, written(lambda t: t.encode("utf-16")))
kind("file in UTF-16, little end first, no mark", SOUND, written(lambda t: t.encode("utf-16-le")))
kind("file in UTF-16, big end first, no mark", SOUND, written(lambda t: t.encode("utf-16-be")))
kind("file in UTF-32", SOUND, written(lambda t: t.encode("utf-32")))
for _encoding in ("latin-1", "cp1252", "gbk", "shift-jis"):
    _text = "hund è 狗"[: 6 if _encoding in ("latin-1", "cp1252") else 4] + (
        "" if _encoding in ("latin-1", "cp1252") else "狗"
    )
    kind(
        f"file in {_encoding}",
        REFUSED,
        _name(_text),
        lambda data, e=_encoding: setattr(
            data, "raw", json.dumps(data.content, ensure_ascii=False).encode(e)
        ),
    )
kind(
    "file in UTF-8 without escapes",
    SOUND,
    _name("狗 été 🐕"),
    lambda data: setattr(data, "raw", json.dumps(data.content, ensure_ascii=False).encode()),
    meaning=_named("狗 été 🐕"),
)
kind(
    "file with a broken byte in UTF-8",
    REFUSED,
    written(lambda t: t.replace("cat", "c@t").encode().replace(b"@", b"\xff")),
)

# Grammar.
kind("file empty", REFUSED, written(lambda _: b""))
kind("file of blanks", REFUSED, written(lambda _: b" \n\n "))
kind("file of null bytes", REFUSED, written(lambda _: b"\0" * 4096))
kind("file cut off", REFUSED, written(lambda t: t[: len(t) // 2]))
kind("file cut off by one", REFUSED, written(lambda t: t[:-1]))
kind("file with a comma too many", REFUSED, written(lambda t: t[:-1] + ",}"))
kind("file with single quotes", REFUSED, written(lambda t: t.replace('"', "'")))
kind("file with comments", REFUSED, written(lambda t: "// mine\n" + t))
kind(
    "file of a line each",
    REFUSED,
    written(lambda t: "\n".join(json.dumps(a) for a in json.loads(t)["annotations"])),
)
kind("file followed by text", REFUSED, written(lambda t: t + "\nend"))
kind("file twice", REFUSED, written(lambda t: t + t))
kind(
    "file with a control character in a text",
    REFUSED,
    written(lambda t: t.replace("cat", "c\x01t")),
)
kind("file of XML", REFUSED, written(lambda _: "<annotation><object/></annotation>"))
kind("file of YAML", REFUSED, written(lambda _: "images:\n  - id: 1\n"))
kind("file a pickle", REFUSED, written(lambda _: b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00}."))
kind(
    "file with line ends of Windows",
    SOUND,
    written(lambda t: json.dumps(json.loads(t), indent=1).replace("\n", "\r\n")),
)
kind("file with blanks around", SOUND, written(lambda t: "\n\n  " + t + " \n\n"))
kind(
    "file with escapes for all", SOUND, written(lambda t: t.replace("cat", "\\u0063\\u0061\\u0074"))
)
kind("NaN where nothing is read", SOUND, _info("NaN"))
kind("infinity where nothing is read", SOUND, _info("[-Infinity, 1e999]"))
kind("5000 digits where nothing is read", REFUSED, _info("9" * 5000))
kind("a lone surrogate where nothing is read", SOUND, _info('"\\ud800"'))
kind("nesting of 200 where nothing is read", SOUND, _info("[" * 200 + "]" * 200))
kind("nesting of 100000", REFUSED, _info("[" * 100000 + "]" * 100000))
kind("nesting of 100000 never closed", REFUSED, written(lambda _: "[" * 100000))
kind("a key twice where nothing is read", REFUSED, _info('{"a": 1, "a": 2}'))
kind(
    "annotations twice, the second empty",
    REFUSED,
    written(lambda t: t[:-1] + ', "annotations": []}'),
)
kind(
    "annotations twice",
    REFUSED,
    written(
        lambda t: t[:-1] + ', "annotations": ' + json.dumps(json.loads(t)["annotations"][:3]) + "}"
    ),
)
kind(
    "a box twice in an annotation",
    REFUSED,
    written(lambda t: t.replace('"bbox": [4.0', '"bbox": [1, 1, 9, 9], "bbox": [4.0', 1)),
)
kind(
    "annotation id of 5000 digits",
    REFUSED,
    written(lambda t: t.replace('"id": 101', '"id": ' + "9" * 5000)),
)
kind(
    "image id of 5000 digits",
    REFUSED,
    written(lambda t: t.replace('"id": 4,', '"id": ' + "9" * 5000 + ",")),
)
kind(
    "box of 5000 digits",
    REFUSED,
    written(lambda t: t.replace('"bbox": [4.0', '"bbox": [' + "9" * 5000, 1)),
)
kind(
    "area of 5000 digits",
    REFUSED,
    written(lambda t: t.replace('"area": ', '"area": ' + "9" * 5000, 1)),
)
kind("box of 1e999", REFUSED, written(lambda t: t.replace('"bbox": [4.0', '"bbox": [1e999', 1)))
kind(
    "box of 1e-999",
    SOUND,
    written(lambda t: t.replace('"bbox": [4.0', '"bbox": [1e-999', 1)),
    may_differ=True,
    meaning=lambda: _moved(),
)
kind(
    "numbers with exponents",
    SOUND,
    written(lambda t: t.replace('"bbox": [4.0', '"bbox": [0.4e1', 1)),
)


def _moved():
    content = sound_content()
    content["annotations"][0]["bbox"][0] = 0.0
    return content


# The value at the top.
for _what, _value in {
    "a list": [],
    "a list of annotations": [{"image_id": 1}],
    "a text": "x",
    "a number": 5,
    "null": None,
    "true": True,
    "an empty object": {},
    "results of a detector": [
        {"image_id": 4, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}
    ],
    "of LabelMe": {"version": "5", "shapes": [], "imagePath": "a.png", "imageHeight": 48},
    "of captions": {"images": [], "annotations": [{"id": 1, "image_id": 1, "caption": "a"}]},
}.items():
    kind(f"file {_what}", REFUSED, written(lambda _, v=_value: json.dumps(v)))
kind("lists within an object", REFUSED, written(lambda t: json.dumps({"dataset": json.loads(t)})))
kind(
    "keys in capitals",
    REFUSED,
    written(lambda t: json.dumps({k.upper(): v for k, v in json.loads(t).items()})),
)
kind("further keys of the file", SOUND, top(licenses=[], videos=[], notes={"a": 1}, version=2))
kind("info a list", SOUND, top(info=[1, 2]))
kind("info missing", SOUND, lambda data: data.content.pop("info"))
kind("licenses null", SOUND, top(licenses=None))

# Files.
kind("file compressed by gzip", REFUSED, written(lambda t: gzip.compress(t.encode())))


def _zipped(text):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mine.json", text)
    return buffer.getvalue()


kind("file in a zip archive", REFUSED, written(_zipped))
kind("file is a folder", REFUSED, placed(lambda path: path.mkdir()))
kind("file is absent", REFUSED, placed(lambda path: path.symlink_to("nothing.json")))
kind("file links to itself", REFUSED, placed(lambda path: path.symlink_to(path.name)))
kind("file is a FIFO", REFUSED, placed(os.mkfifo))
kind("file is endless", REFUSED, placed(lambda path: path.symlink_to("/dev/zero")))
kind("file is an image", REFUSED, written(lambda _: b"\x89PNG\r\n\x1a\n" + bytes(range(256))))


def _linked(data):
    other = data.folder / "other.json"
    other.write_text(json.dumps(data.content))
    data.json_file.symlink_to(other)


kind("file is a link", SOUND, _linked)
for _what, _name_ in {
    "spaces": "my file (1).json",
    "letters of Unicode": "données-狗.json",
    "quotes and commas": 'it\'s, "mine".json',
    "an equals sign": "a=b.json",
    "a dollar": "$HOME.json",
    "brackets": "a[0].json",
    "a hash": "#1.json",
    "no suffix": "mine",
}.items():
    kind(f"file name with {_what}", SOUND, lambda data, n=_name_: setattr(data, "name", n))
