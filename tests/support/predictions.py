"""Results of a classifier that never ran: samples of imbalanced classes and random logits."""

from types import SimpleNamespace

import torch
from detectron2.evaluation import inference_on_dataset

from bpt_det.classification.class_predictions import Prediction
from bpt_det.classification.evaluator import ClassificationEvaluator

CLASS_NAMES = ["ash", "elm, wych", 'the "oak"', "été", "yew", "fir", "001.Box_tree"]
LABELS = [0] * 11 + [1] * 2 + [2] * 5 + [4] * 3 + [5] * 1 + [6] * 7  # class 3 does not occur


class Data(list):
    """Records, and the names of their classes."""

    def __init__(self, records, class_names=CLASS_NAMES):
        super().__init__(records)
        self.class_names = class_names


def make_samples(labels=LABELS):
    return [
        {"image_id": f"images/{i:03d}.jpg", "file_name": f"/data/{i:03d}.jpg", "label": label}
        for i, label in enumerate(labels)
    ]


def predict(*results):
    """One prediction per (label, predicted class, its probability)."""
    return [
        Prediction(f"{i:03d}", f"/data/{i:03d}.png", label, (predicted,), (probability,), 0.0)
        for i, (label, predicted, probability) in enumerate(results)
    ]


def faulty(label, image_id="faulty"):
    """A prediction from logits that are not finite."""
    return Prediction(image_id, f"/data/{image_id}.png", label, (), (), float("nan"))


class Recorded(torch.nn.Module):
    """A model whose results come with the samples."""

    def forward(self, batch):
        return [{"logits": sample["logits"]} for sample in batch]


def make_data(num_classes=7):
    """Data whose records hold logits, about half of which are highest at the label."""
    generator = torch.Generator().manual_seed(5)
    labels = [label for label in LABELS if label < num_classes]
    logits = torch.randn(len(labels), num_classes, generator=generator)
    logits[torch.arange(len(labels)), torch.tensor(labels)] += 0.9
    samples = make_samples(labels)
    for sample, row in zip(samples, logits, strict=True):
        sample["logits"] = row
    return Data(samples, CLASS_NAMES[:num_classes])


def new_evaluator(data, **kwargs):
    """An evaluator of data, as the engine makes one."""
    evaluator = ClassificationEvaluator(**kwargs)
    evaluator.use_loader(SimpleNamespace(dataset=data, class_names=data.class_names))
    return evaluator


def run(data, batch_size=4, **kwargs):
    """Evaluate data of `make_data` as the engine does."""
    batches = [data[start : start + batch_size] for start in range(0, len(data), batch_size)]
    return inference_on_dataset(Recorded(), batches, new_evaluator(data, **kwargs))
