"""Utilities of all rooms: errors, atomic writes, available memory, OpenCV, Detectron2 0.6."""
