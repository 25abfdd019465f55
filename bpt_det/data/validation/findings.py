"""What a check can find, how bad each kind is, and the collection of what was found."""

from dataclasses import dataclass, field

ERROR, WARNING, NOTE = SEVERITIES = ("error", "warning", "note")
_EXAMPLES_KEPT = 10_000  # of a kind; the count goes on

# Error: a run stops, or learns or measures something wrong. Warning: training leaves the object
# out or clips it, or it may be meant. Note: nothing to do.
KINDS = {
    "missing_key": (ERROR, "entries that lack a key"),
    "wrong_type": (ERROR, "values of a wrong type"),
    "empty_list": (ERROR, "lists without entries"),
    "duplicate_image_id": (ERROR, "image ids that occur twice: one image hides the other"),
    "duplicate_annotation_id": (ERROR, "annotation ids that occur twice"),
    "duplicate_category_id": (ERROR, "category ids that occur twice: one hides the other"),
    "annotation_id_0": (ERROR, "annotation id 0: evaluation takes its object for missed"),
    "ignore_key": (ERROR, "annotations with the key 'ignore', which Detectron2 refuses"),
    "unknown_image": (ERROR, "annotations of an image that is not listed: they are lost"),
    "unknown_category": (ERROR, "annotations of a category that is not listed"),
    "bbox_malformed": (ERROR, "boxes that are not four finite numbers"),
    "bbox_negative_size": (ERROR, "boxes of negative width or height"),
    "bbox_outside_image": (ERROR, "boxes wholly outside the image"),
    "mask_missing": (ERROR, "annotations without a segmentation, while others have one"),
    "polygon_malformed": (ERROR, "polygons that are not at least three finite points x, y"),
    "rle_malformed": (ERROR, "run-length codes (RLE) that cannot be decoded"),
    "rle_size": (ERROR, "run-length codes (RLE) of another size than the image"),
    "mask_box_mismatch": (ERROR, "masks that disagree with their box"),
    "image_size_invalid": (ERROR, "images recorded with a size below one pixel"),
    "image_missing": (ERROR, "image files that do not exist"),
    "image_unreadable": (ERROR, "image files that cannot be decoded"),
    "image_size_differs": (ERROR, "image files of another size than recorded"),
    "optional_key_missing": (WARNING, "annotations without area or iscrowd, which others need"),
    "duplicate_category_name": (WARNING, "category names that occur twice"),
    "category_without_instances": (WARNING, "categories without an annotation"),
    "duplicate_file_name": (WARNING, "image files that are listed twice"),
    "bbox_zero_size": (WARNING, "boxes without width or height: left out in training"),
    "bbox_beyond_image": (WARNING, "boxes that reach beyond the image: clipped in training"),
    "mask_beyond_image": (WARNING, "masks that reach beyond the image: clipped in training"),
    "mask_empty": (WARNING, "masks that cover no pixel"),
    "mask_tiny": (WARNING, "tiny masks"),
    "no_masks": (NOTE, "datasets without any segmentation: boxes alone can be trained"),
    "image_without_annotations": (NOTE, "images without an annotation: left out in training"),
}


@dataclass
class Findings:
    """Counts and examples of everything found, by kind.

    Attributes:
        totals: number of images, annotations and categories in the file.
        counts: number of findings of each kind that was found.
        examples: of each kind the first ones, in the order of the file: where it is, and
            ``detail``.
    """

    totals: dict[str, int]
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[dict]] = field(default_factory=dict)

    def add(self, kind: str, where: dict, detail: str = "") -> None:
        """Count a finding.

        Args:
            kind: key of `KINDS`.
            where: see `place`.
            detail: what is wrong there, with the value.
        """
        self.counts[kind] = self.counts.get(kind, 0) + 1
        kept = self.examples.setdefault(kind, [])
        if len(kept) < _EXAMPLES_KEPT:
            kept.append({**where, "detail": detail})

    def kinds(self, severity: str) -> list[str]:
        """Return the kinds found of one severity, in the order of `KINDS`."""
        return [kind for kind, (other, _) in KINDS.items() if other == severity and self.has(kind)]

    def has(self, kind: str) -> bool:
        """Return whether any finding is of this kind."""
        return kind in self.counts

    def total(self, severity: str) -> int:
        """Return the number of findings of one severity."""
        return sum(self.counts[kind] for kind in self.kinds(severity))


def place(name: str, index: int, entry: object, image: dict | None = None) -> dict:
    """Return where an entry is, for scripts: position, and as far as known ids and file name.

    Args:
        name: list it is in: images, annotations or categories.
        index: its position there, from 0.
        entry: what is there.
        image: the image of an annotation.
    """
    where: dict = {"entry": f"{name}[{index}]"}
    if isinstance(entry, dict):
        key = {"images": "image_id", "annotations": "annotation_id", "categories": "category_id"}
        where |= {key[name]: entry["id"]} if "id" in entry else {}
        fields = {"annotations": ["image_id"], "images": ["file_name"], "categories": ["name"]}
        where |= {field: entry[field] for field in fields[name] if field in entry}
    if image is not None:
        where["file_name"] = image["file_name"]
    return where
