"""Classification data: random crops for training, center crops for evaluation.

The validation split is evaluated during training and chooses the best weights; the held-out test
split is evaluated once, at its end, and by --eval-only.
"""

from detectron2.config import LazyCall as L

from bpt_det.classification import ClassificationEvaluator, ClassificationMapper
from bpt_det.classification.layouts import load_classification
from bpt_det.classification.in_memory_loader import build_train_loader
from bpt_det.classification.feature_cache import FeatureCache
from bpt_det.engine import TestLoader

# cub, nabirds, flowers, dogs, cars, imagenet, shapes_crops, folder:PATH or shards:PATH; data=NAME
# on the command line is short for data.name=NAME.
data = dict(name="cub")

dataloader = dict(
    root=None,  # folder that holds the dataset; None: DETECTRON2_DATASETS, or else datasets
    fraction=100,  # percent of each class's training images
    fold=None,  # i/k: validation images are the i-th of k folds of train and val, to choose with
    in_memory=False,  # decode training images once, keep them on train.device and crop them there
    image_size=224,  # pixels
    resize_size=256,  # pixels; shorter side before the center is cut out
    interpolation="bicubic",  # VPT: bilinear
    # Feature cache: compute the input of the first trained block once for each training and
    # validation image; needs train.mapper.augment=False or num_views, and a placement like last_4.
    cache_prefix=False,
    cache_dir=None,  # folder of the cache's files, for later runs too; None: in memory
    feature_cache=L(FeatureCache)(
        cache_prefix="${dataloader.cache_prefix}", cache_dir="${dataloader.cache_dir}"
    ),
    train=L(build_train_loader)(
        dataset=L(load_classification)(
            name="${data.name}",
            root="${dataloader.root}",
            split="train",  # trainval: with the validation images
            fraction="${dataloader.fraction}",
            fold="${dataloader.fold}",
        ),
        mapper=L(ClassificationMapper)(
            image_size="${dataloader.image_size}",
            resize_size="${dataloader.resize_size}",
            augment=True,  # random crop and flip
            crop="resized",  # VPT: random, of the image resized to resize_size
            interpolation="${dataloader.interpolation}",
            num_views=None,  # fixed crops of each image; None: a new random crop every time
        ),
        total_batch_size=32,
        num_workers=4,
        timeout=300,  # seconds to wait for a batch of the workers
        seed="${train.seed}",
        in_memory="${dataloader.in_memory}",
        device="${train.device}",
    ),
    test=L(TestLoader)(
        dataset=L(load_classification)(
            name="${data.name}",
            root="${dataloader.root}",
            split="val",
            fold="${dataloader.fold}",
        ),
        mapper=L(ClassificationMapper)(
            image_size="${dataloader.image_size}",
            resize_size="${dataloader.resize_size}",
            interpolation="${dataloader.interpolation}",
            augment=False,
        ),
        batch_size=32,
        num_workers=4,
        timeout=300,  # seconds to wait for a batch of the workers
        in_memory="${dataloader.in_memory}",
    ),
    evaluator=L(ClassificationEvaluator)(task="val"),
    final_test=L(TestLoader)(
        dataset=L(load_classification)(
            name="${data.name}",
            root="${dataloader.root}",
            split="test",
            fold="${dataloader.fold}",
        ),
        mapper="${..test.mapper}",
        batch_size="${..test.batch_size}",
        num_workers="${..test.num_workers}",
        timeout="${..test.timeout}",
    ),
    final_evaluator=L(ClassificationEvaluator)(task="test", output_dir="${train.output_dir}/test"),
)
