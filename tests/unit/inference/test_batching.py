import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from bpt_det.inference.batching import predict, predicted_objects


def test_predictions_come_at_the_size_that_is_drawn():
    """The model is asked for it, so that no mask of a large photograph is ever made."""
    asked = []

    def model(batch):
        asked.extend(batch)
        return [{"instances": Instances((batch[0]["height"], batch[0]["width"]))}]

    found = predict(model, lambda record: {**record, "height": 9000}, {"image_id": 1}, 45, 60)
    assert asked == [{"image_id": 1, "height": 45, "width": 60}]
    assert found.image_size == (45, 60)


def test_predictions_at_the_threshold_are_drawn_and_lower_ones_are_not():
    instances = Instances((4, 5))
    instances.scores = torch.tensor([0.75, 0.5, 0.25])
    instances.pred_classes = torch.tensor([2, 1, 0])
    instances.pred_boxes = Boxes(torch.tensor([[0.0, 1.0, 2.0, 3.0]] * 3))
    instances.pred_masks = torch.rand(3, 4, 5) > 0.5
    found = predicted_objects(instances, 0.5)
    assert [(one.class_index, one.score) for one in found] == [(2, 0.75), (1, 0.5)]
    assert found[0].box == (0, 1, 2, 3)
    np.testing.assert_array_equal(found[1].mask, instances.pred_masks[1].numpy())
    instances.remove("pred_masks")
    assert predicted_objects(instances, 0.5)[0].mask is None
