"""Fixtures of the tests of comparisons."""

import pytest

from tests.support.plans import StandInProgram


@pytest.fixture
def output(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def program(tmp_path):
    return StandInProgram(tmp_path / "program")
