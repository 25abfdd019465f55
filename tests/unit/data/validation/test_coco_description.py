"""Description of a dataset: counts by class, shares by size, crowd regions, image sizes."""

from bpt_det.data.validation import check_content, describe, format_description


def content(boxes, sizes=((100, 200),)):
    """Boxes as (image, category, side, iscrowd); images of (height, width)."""
    return {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": h, "width": w}
            for i, (h, w) in enumerate(sizes)
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [
            {
                "id": i,
                "image_id": image,
                "category_id": category,
                "bbox": [0, 0, side, side],
                "area": side * side,
                "iscrowd": crowd,
            }
            for i, (image, category, side, crowd) in enumerate(boxes)
        ],
    }


def facts_of(*arguments):
    entries, _ = check_content(content(*arguments))
    return describe(entries)


def test_objects_are_counted_by_class_and_size():
    boxes = [(0, 3, 10, 0), (0, 3, 20, 0), (0, 3, 40, 0), (0, 5, 99, 0), (0, 5, 50, 1)]
    facts = facts_of(boxes)
    assert (facts["images"], facts["images_with_objects"], facts["objects"]) == (1, 1, 4)
    assert facts["crowd_regions"] == 1 and facts["most_objects_of_an_image"] == 4
    assert facts["shares"] == {"small": 0.5, "medium": 0.25, "large": 0.25}
    cat, dog = facts["classes"]
    assert (cat["objects"], cat["images"], cat["small"], cat["median_side"]) == (3, 1, 0.667, 20)
    assert (dog["objects"], dog["small"], dog["median_side"]) == (1, 0, 99)


def test_image_sizes_are_width_and_height():
    facts = facts_of([(0, 3, 10, 0)], [(100, 200), (100, 200), (50, 60), (300, 400)])
    assert facts["image_sizes"] == {
        "least": (60, 50),
        "most": (400, 300),
        "common": (200, 100),
        "common_share": 0.5,
    }
    assert "images of 60 x 50 to 400 x 300 pixels, 200 x 100 most often (50%)" in (
        format_description(facts)
    )


def test_a_dataset_without_objects_is_described():
    facts = facts_of([])
    assert facts["objects"] == 0 and facts["classes"][0]["median_side"] is None
    lines = format_description(facts).splitlines()
    assert lines[0].startswith("0 of 1 images have objects; 0.0 per image")
    assert [line.split() for line in lines[-2:]] == [
        [n, "0", "0", "-", "-"] for n in ("cat", "dog")
    ]


def test_the_most_frequent_class_is_first():
    text = format_description(facts_of([(0, 5, 10, 0), (0, 5, 20, 0), (0, 3, 40, 0)]))
    assert text.index("dog") < text.index("cat")
