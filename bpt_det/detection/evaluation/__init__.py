"""COCO evaluation without pasting masks into images."""
