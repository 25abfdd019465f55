"""COCO annotation files: reader, explanation of unusable ones, and sources FILE:FOLDER."""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

from bpt_det.utils.errors import InputError

LISTS = ("images", "annotations", "categories")


def read_annotation_file(path: str | Path) -> dict:
    """Return the content of a COCO-format annotation file.

    Raises:
        InputError: the file cannot be read, is not JSON, or lacks one of the three `LISTS`.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"annotation file '{path}' cannot be read ({error.strerror or error}); correct the "
            "path."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"annotation file '{path}' is truncated or not JSON ({error}); copy it again."
        ) from error
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in LISTS):
        raise InputError(
            f"annotation file '{path}' is not in COCO's format: it needs the lists "
            f"{', '.join(LISTS)}."
        )
    return content


def explain_bad_annotations(
    path: str | Path, registered_category_ids: Iterable[int] | None = None
) -> None:
    """Raise an `InputError` that says what is wrong with an annotation file, if something is.

    Args:
        path: of the file.
        registered_category_ids: category ids that the dataset's name stands for; None takes the
            file's own.
    """
    content = read_annotation_file(path)
    if not content["images"] or not content["categories"]:
        what = "images" if not content["images"] else "categories"
        raise InputError(f"annotation file '{path}' is empty: it lists no {what}.")
    if all(annotation.get("iscrowd", 0) for annotation in content["annotations"]):
        raise InputError(
            f"annotation file '{path}' is empty: no image in it has an annotation that is "
            "not a crowd region."
        )
    known = {category.get("id") for category in content["categories"]}
    unknown = {annotation.get("category_id") for annotation in content["annotations"]} - known
    expected = known if registered_category_ids is None else set(registered_category_ids)
    if unknown or known != expected:
        ids = sorted(unknown or known ^ expected, key=str)  # an entry may lack its id: None
        raise InputError(
            f"annotation file '{path}': category ids {ids[:3]} are not among those "
            f"of {'its categories' if unknown else 'the registered dataset'}; correct the file, "
            "or load it under a name of its own with json_file and image_root.",
            hint="check_dataset",
        )


def split_source(value: object, option: str) -> tuple[str, str]:
    """Split ``FILE:FOLDER`` into the absolute paths of annotation file and image folder.

    Where a path has a colon too, the parts are those that exist.

    Args:
        value: the text.
        option: what the caller writes before it, for the error.

    Raises:
        InputError: it does not have two parts.
    """
    text = str(value)
    splits = [(text[:i], text[i + 1 :]) for i, letter in enumerate(text) if letter == ":"]
    splits = [parts for parts in splits if all(part.strip() for part in parts)]
    if not splits:
        raise InputError(
            f"'{option}{text}' is not of the form FILE:FOLDER; give the annotation file and the "
            f"folder of its images, as in {option}/data/mine/train.json:/data/mine/images."
        )
    sources = [(absolute_path(file), absolute_path(folder)) for file, folder in splits]
    return max(sources, key=lambda source: os.path.isfile(source[0]) + os.path.isdir(source[1]))


def is_area(value: object) -> TypeGuard[float]:
    """Return whether a value can be the area of an object: a positive, finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value < math.inf


def absolute_path(path: str) -> str:
    """Return a path that a saved config finds from any folder."""
    return os.path.abspath(os.path.expanduser(path))
