"""Packed results: predictions of many images as arrays, where COCO's format has a dict for each.

A prediction with its mask takes a third of the memory. Shape legend: D predictions.
"""

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import IO

import numpy as np

_WRITTEN = 1000  # predictions that are text at once


@dataclass(frozen=True)
class PackedResults:
    """Predictions, of which ``results[i]`` is one as COCO's format has it.

    Boxes and scores are exact. Keypoints are not kept.

    Args:
        image_ids: of the images that were run, those without a prediction too.
        images: index into ``image_ids``, (D,).
        category_ids: (D,).
        boxes: XYWH pixels, (D, 4).
        scores: in [0, 1], (D,).
        sizes: (H, W) of the masks, (D, 2).
        texts: compressed run lengths of all masks, one after the other.
        start, stop: of each mask's in ``texts``, (D,); equal where there is no mask.
    """

    image_ids: Sequence[Hashable]
    images: np.ndarray
    category_ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    sizes: np.ndarray
    texts: bytes
    start: np.ndarray
    stop: np.ndarray

    @classmethod
    def pack(cls, results: Sequence[dict], image_ids: Iterable[Hashable]) -> "PackedResults":
        """Return results in COCO's format, with masks as compressed run lengths, packed.

        Args:
            results: with integers as category ids.
            image_ids: of all images that were run.
        """
        ids = list(image_ids)
        index = {image_id: number for number, image_id in enumerate(ids)}
        masks = [result.get("segmentation") for result in results]
        texts = [_bytes(mask["counts"]) if mask else b"" for mask in masks]
        lengths = np.array([len(text) for text in texts], np.int64)
        stop = np.cumsum(lengths)
        return cls(
            ids,
            np.array([index[result["image_id"]] for result in results], np.int32),
            np.array([result["category_id"] for result in results], np.int64),
            np.array([result["bbox"] for result in results], np.float64).reshape(-1, 4),
            np.array([result["score"] for result in results], np.float64),
            np.array([mask["size"] if mask else (0, 0) for mask in masks], np.int32).reshape(-1, 2),
            b"".join(texts),
            stop - lengths,
            stop,
        )

    @classmethod
    def join(cls, parts: Sequence["PackedResults"]) -> "PackedResults":
        """Return the results of different images as one."""
        parts = [cls.pack([], []), *parts]
        first_image = np.cumsum([0, *(len(part.image_ids) for part in parts)])
        first_byte = np.cumsum([0, *(len(part.texts) for part in parts)])

        def joined(name: str, offsets: Iterable[int] | None = None) -> np.ndarray:
            arrays = [getattr(part, name) for part in parts]
            if offsets is not None:
                arrays = [a + offset for a, offset in zip(arrays, offsets, strict=False)]
            return np.concatenate(arrays)

        return cls(
            list(chain(*(part.image_ids for part in parts))),
            joined("images", first_image),
            joined("category_ids"),
            joined("boxes"),
            joined("scores"),
            joined("sizes"),
            b"".join(part.texts for part in parts),
            joined("start", first_byte),
            joined("stop", first_byte),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int) -> dict:
        result = {
            "image_id": self.image_ids[self.images[index]],
            "category_id": int(self.category_ids[index]),
            "bbox": self.boxes[index].tolist(),
            "score": float(self.scores[index]),
        }
        if self.stop[index] > self.start[index]:
            result["segmentation"] = self.mask(index)
        return result

    def mask(self, index: int) -> dict:
        """Return the run-length code of a mask."""
        text = self.texts[self.start[index] : self.stop[index]]
        return {"size": self.sizes[index].tolist(), "counts": text.decode()}

    def __iter__(self) -> Iterator[dict]:
        return map(self.__getitem__, range(len(self)))

    def take(self, chosen: np.ndarray) -> "PackedResults":
        """Return some predictions, by their indexes or a condition, (D,); all images stay."""
        names = ("images", "category_ids", "boxes", "scores", "sizes", "start", "stop")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def of_images(self, image_ids: Iterable[Hashable]) -> "PackedResults":
        """Return the predictions in some images."""
        kept = set(image_ids)
        return self.take(np.array([i in kept for i in self.image_ids], bool)[self.images])

    def write_json(self, file: IO[str], category_ids: Mapping[int, Hashable]) -> None:
        """Write them as a list in COCO's format, with other category ids."""
        file.write("[")
        for start in range(0, len(self), _WRITTEN):
            part = self.take(np.arange(start, min(start + _WRITTEN, len(self))))
            rows = [{**row, "category_id": category_ids[row["category_id"]]} for row in part]
            file.write(", " if start else "")
            file.write(json.dumps(rows)[1:-1])
        file.write("]")


def _bytes(counts: str | bytes) -> bytes:
    return counts.encode() if isinstance(counts, str) else counts
