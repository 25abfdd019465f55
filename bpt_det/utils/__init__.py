"""What every room needs: errors, atomic writes, memory, OpenCV, Detectron2 0.6."""
