"""COCO 2017 with large-scale jitter, as ViTDet trains on it."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from bpt_det.detection import CocoEvaluator, ImageNamingMapper, LargeScaleJitter, load_dataset
from bpt_det.engine import TestLoader, TrainLoader

# Custom dataset, the rest of the config is adapted to it: FILE:FOLDER in COCO's format, or a YOLO
# data.yaml, a folder of Pascal VOC or labelme, or a zip archive.
data = dict(
    train=None,
    val=None,  # None: the dataset's own split, or a fifth of the training images
    reference_batch_size=16,  # of a custom dataset's runs, see train.reference_batch_size
)

dataloader = dict(
    image_size=1024,  # pixels; training crops are square, test images have it as longest side
    train=L(TrainLoader)(
        dataset=L(load_dataset)(
            names="coco_2017_train", num_classes="${model.roi_heads.num_classes}"
        ),
        mapper=L(ImageNamingMapper)(
            is_train=True,
            augmentations=[
                L(T.RandomFlip)(horizontal=True),
                L(LargeScaleJitter)(min_scale=0.1, max_scale=2.0, size="${dataloader.image_size}"),
            ],
            image_format="${model.input_format}",
            use_instance_mask=True,
            instance_mask_format="polygon",
            recompute_boxes=True,  # a crop cuts objects
        ),
        total_batch_size=16,
        num_workers=4,
        timeout=300,  # seconds to wait for a batch of the workers
        seed="${train.seed}",
    ),
    test=L(TestLoader)(
        dataset=L(load_dataset)(
            names="coco_2017_val",
            num_classes="${model.roi_heads.num_classes}",
            filter_empty=False,
        ),
        mapper=L(ImageNamingMapper)(
            is_train=False,
            augmentations=[
                L(T.ResizeShortestEdge)(
                    short_edge_length="${dataloader.image_size}",
                    max_size="${dataloader.image_size}",
                )
            ],
            image_format="${model.input_format}",
        ),
        num_workers=4,
        timeout=300,  # seconds to wait for a batch of the workers
    ),
    evaluator=L(CocoEvaluator)(
        dataset_name="${..test.dataset.names}",
        output_dir="${train.output_dir}/inference",
        num_pictures=6,  # images drawn beside ground truth at each evaluation; 0: no pictures
    ),
)
