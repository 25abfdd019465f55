"""RoI mask detector: a detector that does not paste masks into images, and its COCO results."""

from collections.abc import Sequence

from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Instances, ROIMasks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .roi_run_lengths import encode_roi_masks

_ROI_MASKS = "roi_masks"


class RoiMaskDetector(nn.Module):
    """A `GeneralizedRCNN` whose predicted masks stay as its mask head gives them.

    Instances have ``roi_masks`` in place of ``pred_masks``: `ROIMasks` within their boxes. All
    other fields are those of the detector. For evaluation mode only.

    Args:
        detector: runs itself; it has the mode that this module is set to.
    """

    def __init__(self, detector: GeneralizedRCNN) -> None:
        super().__init__()
        self.detector = detector
        self.training = detector.training

    def forward(self, batch: Sequence[dict]) -> list[dict]:
        """Return ``instances`` of each image, at its ``height`` and ``width``."""
        outputs = []
        predictions = self.detector.inference(batch, do_postprocess=False)
        for instances, sample in zip(predictions, batch, strict=True):
            height, width = instances.image_size
            size = (sample.get("height", height), sample.get("width", width))
            outputs.append({"instances": postprocess_without_pasting(instances, *size)})
        return outputs


def without_pasting(model: nn.Module) -> nn.Module:
    """Return a `RoiMaskDetector` of a `GeneralizedRCNN`; any other model is returned as it is.

    One of several processes runs its own detector, without those of the others.
    """
    detector = model.module if isinstance(model, DistributedDataParallel) else model
    # A subclass may do something else in place of what the wrapper leaves out.
    return RoiMaskDetector(detector) if type(detector) is GeneralizedRCNN else model


def roi_instances_to_coco(instances: Instances, image_id: int) -> list[dict]:
    """Return predictions on the CPU, of a `RoiMaskDetector` or of a detector, as COCO has them."""
    results = instances_to_coco_json(instances, image_id)
    if not instances.has(_ROI_MASKS):
        return results
    masks, boxes = instances.get(_ROI_MASKS).tensor, instances.pred_boxes.tensor
    run_lengths = encode_roi_masks(masks, boxes, instances.image_size)
    for result, segmentation in zip(results, run_lengths, strict=True):
        result["segmentation"] = segmentation
    return results


def postprocess_without_pasting(instances: Instances, height: int, width: int) -> Instances:
    """Do what `detector_postprocess` does, but leave masks as they are, under another name."""
    fields = instances.get_fields()
    if "pred_masks" in fields:
        masks = fields["pred_masks"]  # (N, 1, S, S), or `ROIMasks` already
        fields = {name: value for name, value in fields.items() if name != "pred_masks"}
        fields[_ROI_MASKS] = masks if isinstance(masks, ROIMasks) else ROIMasks(masks[:, 0])
    return detector_postprocess(Instances(instances.image_size, **fields), height, width)
