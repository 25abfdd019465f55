"""Installation: what a machine has, and Detectron2 for it; imports before anything is installed."""
