"""Defaults and limits of inference that the command line shows too."""

DEFAULT_SCORE_THRESHOLD = 0.5  # predictions above it are kept or drawn
LEAST_TILE = 16  # pixels of its side
DEFAULT_OVERLAP, MAX_OVERLAP = 0.2, 0.9  # of neighboring tiles, shares of the side
