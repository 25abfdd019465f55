"""Bird datasets, CUB-200-2011 and NABirds: four text files keyed by image id."""

from bpt_det.data.archives import FileTree
from bpt_det.data.splits import LabeledImage, Layout, LayoutError
from bpt_det.utils.errors import InputError, shorten

BIRD_FILES = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")


def read_cub(tree: FileTree) -> Layout:
    """Read CUB-200-2011: every class of ``classes.txt`` has images.

    Raises:
        InputError: a file is missing or malformed, a label or an image is, or a class is empty.
    """
    layout = _read_birds(tree)
    used = {image.class_id for image in layout.images}
    empty = [f"{i} {name}" for i, name in layout.class_names.items() if i not in used]
    if empty:
        raise InputError(
            f"{len(empty)} classes of '{tree.file_name('classes.txt')}' have no image: "
            f"{shorten(empty)}; take them out of it or restore their images"
        )
    return layout


def read_nabirds(tree: FileTree) -> Layout:
    """Read NABirds: ``classes.txt`` holds inner nodes of the taxonomy too, which have no image.

    Raises:
        InputError: a file is missing or malformed, or a label or an image is.
    """
    layout = _read_birds(tree)
    used = {image.class_id for image in layout.images}
    layout.class_names = {i: name for i, name in layout.class_names.items() if i in used}
    return layout


def _read_birds(tree: FileTree) -> Layout:
    paths, labels, flags, names = (_read_table(tree, file) for file in BIRD_FILES)
    names_by_id = {_to_int(tree, "classes.txt", i): name for i, name in names.items()}
    images = []
    for image_id, path in paths.items():
        label = _to_int(tree, BIRD_FILES[1], _look_up(tree, BIRD_FILES[1], labels, image_id))
        flag = _look_up(tree, BIRD_FILES[2], flags, image_id)
        if label not in names_by_id:
            raise LayoutError(
                f"'{tree.file_name(BIRD_FILES[1])}' gives image {image_id} the label {label}, "
                f"but classes.txt has {min(names_by_id)} to {max(names_by_id)}"
            )
        if flag not in ("0", "1"):
            raise LayoutError(
                f"'{tree.file_name(BIRD_FILES[2])}' gives image {image_id} the flag '{flag}', "
                "not 1 (training) or 0 (test)"
            )
        images.append(LabeledImage(f"images/{path}", label, "train" if flag == "1" else "test"))
    return Layout(images, names_by_id, tree.file_name("images.txt"), ("train", "test"))


def _read_table(tree: FileTree, path: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for number, line in enumerate(tree.read(path).decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        key, _, value = line.strip().partition(" ")
        if not value or key in table:
            problem = "twice the id" if value else "no value for"
            raise LayoutError(f"'{tree.file_name(path)}' line {number}: {problem} '{key}'")
        table[key] = value.strip()
    if not table:
        raise InputError(f"'{tree.file_name(path)}' is empty; {tree.advice}")
    return table


def _look_up(tree: FileTree, path: str, table: dict[str, str], image_id: str) -> str:
    if image_id not in table:
        raise LayoutError(
            f"'{tree.file_name(path)}' has no line for image {image_id} of images.txt"
        )
    return table[image_id]


def _to_int(tree: FileTree, path: str, value: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise LayoutError(
            f"'{tree.file_name(path)}' has '{value}' where a class id should be, an integer"
        ) from error
