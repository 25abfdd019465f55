"""Comments of configs in the reference of config keys."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "docs" / "scripts"))

from config_keys import read_comments

CONFIG = """
train = dict(
    seed=0,  # beside
    # above,
    # in two lines
    ema=dict(decay=None),
    curves=[],
    checkpointer=dict(
        period=1,  # nested
    ),
)
train.update(epochs=3)  # of an update
"""


def test_a_comment_belongs_to_the_keys_of_its_line_or_of_the_line_below(tmp_path):
    folder = tmp_path / "common"
    folder.mkdir()
    (folder / "train.py").write_text(CONFIG)
    assert read_comments(tmp_path) == {
        "train.seed": "beside",
        "train.ema": "above, in two lines",
        "train.ema.decay": "above, in two lines",
        "train.checkpointer.period": "nested",
        "train.epochs": "of an update",
    }
