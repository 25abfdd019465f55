"""COCO's metrics without pasting masks into images."""
