"""Limits: the variable sets another one, and the error names it."""

import pytest

from bpt_det.utils.errors import InputError
from bpt_det.utils.limits import Limit

LIMIT = Limit("BPT_DET_MAX_WORDS", 1_000, "words")


def test_a_limit_is_the_largest_number_allowed():
    LIMIT.check(1_000, "file 'a'")
    with pytest.raises(InputError, match=r"file 'a' has 1,001 words.*BPT_DET_MAX_WORDS=1001\."):
        LIMIT.check(1_001, "file 'a'")


def test_the_variable_sets_another_limit(monkeypatch):
    monkeypatch.setenv("BPT_DET_MAX_WORDS", "7")
    LIMIT.check(7, "file 'a'")
    with pytest.raises(InputError, match="more than the 7 that are allowed"):
        LIMIT.check(8, "file 'a'")


@pytest.mark.parametrize("text", ["", "-1", "0", "many", "1e9", "²"])
def test_a_limit_that_is_no_positive_integer_is_refused(text, monkeypatch):
    monkeypatch.setenv("BPT_DET_MAX_WORDS", text)
    with pytest.raises(InputError, match="BPT_DET_MAX_WORDS must be an integer >= 1"):
        LIMIT.check(1, "file 'a'")
