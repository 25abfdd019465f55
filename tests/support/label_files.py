"""Small datasets in the formats of annotation tools, written from one description."""

import base64
import io
import json
import zipfile

import numpy as np
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

CLASSES = ["cat", "dog"]  # sorted by name, as formats without numbers have them
TRIANGLE = [2.0, 3.0, 12.0, 3.0, 2.0, 9.0]
BOX = (4.0, 2.0, 10.0, 8.0)  # corners
# Name: (H, W), and objects as (class, polygon or corners).
IMAGES = {"a": ((12, 20), [(0, TRIANGLE)]), "b": ((10, 16), [(1, TRIANGLE), (0, TRIANGLE)])}
BOXES = {"a": ((12, 20), [(0, BOX)]), "b": ((10, 16), [(1, BOX), (0, (0.0, 0.0, 16.0, 10.0))])}


def write_image(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1], (90, 120, 30)).save(path)


def write_yolo(folder, images=IMAGES, split="train", **settings):
    """Write a YOLO dataset of one split, and return its data.yaml."""
    for name, (size, objects) in images.items():
        write_image(folder / f"images/{split}/{name}.png", size)
        label = folder / f"labels/{split}/{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("".join(f"{k} {_normalized(shape, size)}\n" for k, shape in objects))
    file = folder / "data.yaml"
    content = yaml.safe_load(file.read_text()) if file.exists() else {"names": CLASSES}
    file.write_text(yaml.safe_dump({**content, split: f"images/{split}", **settings}))
    return file


def _normalized(shape, size):
    height, width = size
    if isinstance(shape, tuple):
        x0, y0, x1, y1 = shape
        shape = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
    numbers = [v / (height if i % 2 else width) for i, v in enumerate(shape)]
    return " ".join(map(repr, numbers))


def write_voc(folder, images=BOXES, masks=None, shift=1):
    """Write a Pascal VOC dataset, and return its folder; masks: object numbers (H, W) by image."""
    for name, (size, objects) in images.items():
        write_image(folder / f"JPEGImages/{name}.png", size)
        (folder / "Annotations").mkdir(exist_ok=True)
        entries = "".join(_voc_object(CLASSES[k], box, shift) for k, box in objects)
        (folder / f"Annotations/{name}.xml").write_text(
            f"<annotation><filename>{name}.png</filename><size><width>{size[1]}</width>"
            f"<height>{size[0]}</height><depth>3</depth></size>{entries}</annotation>"
        )
    for name, numbers in (masks or {}).items():
        (folder / "SegmentationObject").mkdir(exist_ok=True)
        picture = Image.fromarray(np.asarray(numbers, dtype=np.uint8), mode="P")
        picture.putpalette([v for i in range(256) for v in (i, 0, 255 - i)])
        picture.save(folder / f"SegmentationObject/{name}.png")
    return folder


def _voc_object(name, box, shift):
    x0, y0, x1, y1 = box
    corners = {"xmin": x0 + shift, "ymin": y0 + shift, "xmax": x1, "ymax": y1}
    texts = "".join(f"<{key}>{value:g}</{key}>" for key, value in corners.items())
    return f"<object><name>{name}</name><bndbox>{texts}</bndbox></object>"


def write_labelme(folder, images=IMAGES):
    """Write a labelme dataset, and return its folder."""
    for name, (size, objects) in images.items():
        write_image(folder / f"{name}.png", size)
        shapes = [labelme_shape(CLASSES[k], shape) for k, shape in objects]
        write_labelme_file(folder, name, shapes, size)
    return folder


def write_labelme_file(folder, name, shapes, size):
    content = {
        "version": "5.5.0",
        "shapes": shapes,
        "imagePath": f"{name}.png",
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }
    (folder / f"{name}.json").write_text(json.dumps(content))


def labelme_shape(label, shape, **changes):
    kind = "rectangle" if isinstance(shape, tuple) else "polygon"
    points = [list(shape[i : i + 2]) for i in range(0, len(shape), 2)]
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, **changes}


def labelme_mask(label, mask, x, y):
    """A shape of the type mask: a picture (H, W) whose first pixel is at x, y."""
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(stream, "PNG")
    height, width = mask.shape
    shape = labelme_shape(label, (x, y, x + width - 1, y + height - 1), shape_type="mask")
    return {**shape, "mask": base64.b64encode(stream.getvalue()).decode()}


def polygons_to_mask(polygons, height, width):
    """Return the mask (H, W) of polygons, as COCO's evaluation and training rasterize them."""
    codes = coco_mask.frPyObjects(polygons, height, width)
    return coco_mask.decode(coco_mask.merge(codes)).astype(bool)


def pack(folder, file, prefix=""):
    """Pack a folder's content into a zip archive, and return it."""
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, prefix + path.relative_to(folder).as_posix())
    return file
