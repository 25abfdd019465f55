"""Dataset faults, one of every kind, for rendered shapes; each changes entries of its own."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

# kind: function that spoils content and images, and returns position and detail of the finding.
FAULTS: dict[str, Callable[[dict, Path], tuple[str, str]]] = {}
# What else a fault leads to.
ALSO = {
    "bbox_outside_image": {"mask_box_mismatch": 1},
    "duplicate_category_name": {"category_without_instances": 1},
    "duplicate_file_name": {"image_without_annotations": 1},
}
# Of a whole dataset: cannot be together with others, and bring further findings.
ALONE = ("no_masks", "empty_list", "no_annotations", "boxes_are_fractions", "boxes_disagree")
ALONE += (
    "all_left_out",
    "many_crowds",
    "only_crowds",
    "many_objects",
    "boxes_look_like_corners",
    "boxes_in_one_corner",
)


def fault(kind: str):
    def register(spoil):
        FAULTS[kind] = spoil
        return spoil

    return register


def fault_of_annotation(kind: str, index: int, detail: str, **changes):
    """Register a fault that is made by setting keys of one annotation."""

    @fault(kind)
    def spoil(content, images):
        content["annotations"][index].update(changes)
        return f"annotations[{index}]", detail


def rle(height, width, counts, **changes):
    return {"segmentation": {"size": [height, width], "counts": counts}, **changes}


fault_of_annotation("wrong_type", 1, "image_id is [1], not an integer or a text", image_id=[1])
fault_of_annotation("area_invalid", 2, "area is -3", area=-3)
fault_of_annotation(
    "area_mismatch",
    6,
    "area is 40000, the mask has 400 pixels",
    bbox=[3, 3, 20, 20],
    segmentation=[[3, 3, 23, 3, 23, 23, 3, 23]],
    area=40000,
)
fault_of_annotation("ignore_key", 3, "mark regions to leave out with iscrowd", ignore=1)
fault_of_annotation("unknown_image", 4, "image_id 77 is not among the images", image_id=77)
fault_of_annotation(
    "unknown_category", 5, "category_id 77 is not among the categories", category_id=77
)
fault_of_annotation("bbox_malformed", 8, "bbox is [1, 2, nan, 4]", bbox=[1, 2, float("nan"), 4])
fault_of_annotation(
    "bbox_outside_image",
    10,
    "bbox [48, 3, 9, 9] in 48 x 64 pixels",
    bbox=[48, 3, 9, 9],
    segmentation=[[39, 3, 48, 3, 48, 12, 39, 12]],
)
fault_of_annotation(
    "bbox_beyond_image",
    15,
    "bbox [30, 35, 20.5, 8] in 48 x 64 pixels: 2.5 pixels beyond",
    bbox=[30, 35, 20.5, 8],
    segmentation=[[30, 35, 48, 35, 48, 43, 30, 43]],
)
fault_of_annotation("mask_missing", 24, "", segmentation=[])
fault_of_annotation(
    "polygon_malformed",
    25,
    "a polygon of 7 numbers",
    segmentation=[[1, 2, 9, 9, 5, 6, 7], [1, 2, 3, 4, 5, 6]],
)
fault_of_annotation(
    "far_outside",
    26,
    "the mask reaches from [21, 5] to [1000000000.0, 32]",
    segmentation=[[21, 5, 1e9, 5, 21, 32]],
)
fault_of_annotation(
    "mask_of_points", 28, "it has 2 of one or two points alone", segmentation=[[9, 9], [12, 12]]
)
fault_of_annotation(
    "turned_rectangle", 30, "attributes.rotation is 35", attributes={"rotation": 35}
)

fault_of_annotation(
    "rle_malformed",
    7,
    "its runs sum up to 3071, not 64 x 48 pixels",
    **rle(64, 48, [71, 3000]),
)
fault_of_annotation(
    "rle_size",
    22,
    "size is [48, 64], not the image's [height, width] [64, 64]",
    **rle(48, 64, [0, 48 * 64]),
)
fault_of_annotation(
    "mask_box_mismatch",
    27,
    "IoU 0.00 of bbox [5, 1, 9, 9] with the mask's [14, 16, 22, 22]",
    bbox=[5, 1, 9, 9],
    segmentation=[[14, 16, 36, 16, 36, 38, 14, 38]],
)
fault_of_annotation(
    "mask_beyond_image",
    31,
    "3.5 pixels beyond 64 x 56",
    bbox=[40, 5, 24, 26],
    segmentation=[[40, 5, 67.5, 5, 67.5, 31, 40, 31]],
    area=624,
)
fault_of_annotation(
    "mask_tiny",
    33,
    "its area is 3 pixels, less than 4",
    bbox=[32, 3, 3, 1],
    segmentation=[[32, 3, 35, 3, 35, 4, 32, 4]],
)
fault_of_annotation(
    "mask_empty",
    51,
    "its area is 0 pixels",
    **rle(48, 64, [48 * 64]),
)


@fault("missing_key")
def _(content, images):
    del content["annotations"][0]["bbox"]
    return "annotations[0]", "has no bbox"


@fault("optional_key_missing")
def _(content, images):
    del content["annotations"][45]["area"]
    return "annotations[45]", "has no area"


@fault("polygon_of_points")
def _(content, images):
    content["annotations"][32]["segmentation"].append([1, 2, 9, 9])
    return "annotations[32]", "1 of one or two points"


@fault("crowd_without_mask")
def _(content, images):
    content["annotations"][35].update(segmentation=[], iscrowd=1)
    return "annotations[35]", ""


@fault("duplicate_annotation")
def _(content, images):
    content["annotations"].append({**content["annotations"][36], "id": 5000})
    return f"annotations[{len(content['annotations']) - 1}]", "the same as annotations[36]"


@fault("no_annotations")
def _(content, images):
    del content["annotations"]
    return "annotations", "annotations is not there"


@fault("boxes_are_fractions")
def _(content, images):
    for annotation in content["annotations"]:
        annotation["bbox"] = [value / 64 for value in annotation["bbox"]]
    return "annotations", "all 77 boxes are within [0, 1]"


@fault("boxes_disagree")
def _(content, images):
    for annotation in content["annotations"]:
        annotation["bbox"] = [value / 2 for value in annotation["bbox"]]
    return "annotations", "7"


@fault("all_left_out")
def _(content, images):
    for annotation in content["annotations"]:
        annotation["bbox"][2] = 0
    return "annotations", "none of "


@fault("many_crowds")
def _(content, images):
    for annotation in content["annotations"][:40]:
        annotation["iscrowd"] = 1
    return "annotations", "40 of 78 annotations are crowd regions"


@fault("only_crowds")
def _(content, images):
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1
    return "annotations", "78 of 78 annotations are crowd regions"


@fault("many_objects")
def _(content, images):
    first = content["annotations"][0]
    content["annotations"] += [{**first, "id": 6000 + n} for n in range(100)]
    number = sum(a["image_id"] == first["image_id"] for a in content["annotations"])
    position = [image["id"] for image in content["images"]].index(first["image_id"])
    return f"images[{position}]", f"{number} objects"


@fault("boxes_look_like_corners")
def _(content, images):
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation.update(bbox=[x, y, x + width, y + height], segmentation=[])
    return "annotations", "of 77 boxes"


@fault("boxes_in_one_corner")
def _(content, images):
    for annotation in content["annotations"]:
        annotation.update(bbox=[value / 2 for value in annotation["bbox"]], segmentation=[])
    return "annotations", "all 77 boxes lie within the first"


@fault("duplicate_annotation_id")
def _(content, images):
    content["annotations"][47]["id"] = content["annotations"][46]["id"]
    return "annotations[47]", "id 47 is also that of annotations[46]"


@fault("bbox_negative_size")
def _(content, images):
    content["annotations"][48]["bbox"] = [25, 6, -13, 18]
    return "annotations[48]", "bbox [25, 6, -13, 18]; it is x, y, width, height"


@fault("bbox_zero_size")
def _(content, images):
    polygons = [[46, 32, 48, 32, 48, 35, 46, 35]]
    content["annotations"][49].update(bbox=[47, 32, 0, 3], segmentation=polygons)
    return "annotations[49]", "bbox [47, 32, 0, 3]"


@fault("duplicate_image_id")
def _(content, images):
    shutil.copy(images / "000000000001.jpg", images / "copy.jpg")
    content["images"].append({**content["images"][0], "file_name": "copy.jpg"})
    return f"images[{len(content['images']) - 1}]", "id 1 is also that of images[0]"


@fault("duplicate_file_name")
def _(content, images):
    content["images"].append({**content["images"][1], "id": 1000})
    return (
        f"images[{len(content['images']) - 1}]",
        "file_name '000000000002.jpg' is also that of images[1]",
    )


@fault("image_without_annotations")
def _(content, images):
    shutil.copy(images / "000000000002.jpg", images / "empty.jpg")
    content["images"].append({**content["images"][1], "id": 1001, "file_name": "empty.jpg"})
    return f"images[{len(content['images']) - 1}]", ""


@fault("duplicate_category_id")
def _(content, images):
    content["categories"].append({"id": 16, "name": "another"})
    return f"categories[{len(content['categories']) - 1}]", "id 16 is also that of categories[9]"


@fault("duplicate_category_name")
def _(content, images):
    name = content["categories"][2]["name"]
    content["categories"].append({"id": 98, "name": name})
    return (
        f"categories[{len(content['categories']) - 1}]",
        f"name {name!r} is also that of categories[2]",
    )


@fault("category_without_instances")
def _(content, images):
    content["categories"].append({"id": 99, "name": "nobody"})
    return f"categories[{len(content['categories']) - 1}]", ""


@fault("image_size_invalid")
def _(content, images):
    content["images"][11].update(width=0)
    return "images[11]", "0 x 64"


@fault("image_size_differs")
def _(content, images):
    content["images"][8].update(height=65)
    return "images[8]", "64 x 64 pixels, recorded as 64 x 65"


@fault("image_missing")
def _(content, images):
    (images / "000000000010.jpg").unlink()
    return "images[9]", f"'{images / '000000000010.jpg'}' does not exist"


@fault("image_name_differs")
def _(content, images):
    content["images"][7]["file_name"] = ".\\000000000008.JPG"
    return "images[7]", "found as '000000000008.jpg'"


@fault("image_unreadable")
def _(content, images):
    path = images / "000000000011.jpg"
    path.write_bytes(path.read_bytes()[:-300])  # its header is whole
    return "images[10]", f"image '{path}' cannot be read (image file is truncated ("


@fault("no_masks")
def _(content, images):
    for annotation in content["annotations"]:
        annotation.pop("segmentation")
    return "annotations", "no annotation has a segmentation"


@fault("empty_list")
def _(content, images):
    content["images"], content["annotations"], content["categories"] = [], [], []
    return "images", "images is empty"


@fault("lvis_list_malformed")
def _(content, images):
    content["images"][5]["not_exhaustive_category_ids"] = [77]
    return "images[5]", "not_exhaustive_category_ids has 77, not the id of a listed category"


@fault("negative_category_annotated")
def _(content, images):
    annotations = content["annotations"]
    places = Counter((a.get("image_id"), a.get("category_id")) for a in annotations[60:])
    index = next(
        i
        for i, a in enumerate(annotations)
        if i >= 60 and places[a["image_id"], a["category_id"]] == 1
    )
    image = next(i for i in content["images"] if i["id"] == annotations[index]["image_id"])
    category_id = annotations[index]["category_id"]
    image["neg_category_ids"] = [category_id]
    return f"annotations[{index}]", f"category_id {category_id} is among neg_category_ids"
