"""Datasets as files: images, archives, COCO annotation files, splits, validation. No model."""
