"""Work of the larger commands, imported when they run: it takes torch and Detectron2."""
