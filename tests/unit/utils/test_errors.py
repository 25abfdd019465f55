import pickle

import pytest

from bpt_det.utils.errors import InputError, check_count, one_line, shorten


class SpecialError(InputError):
    def __init__(self, name):
        super().__init__(f"'{name}' is unknown.", parameter="name", hint="resume")
        self.name = name


def test_an_error_keeps_its_type_and_attributes_between_processes():
    error = pickle.loads(pickle.dumps(SpecialError("x")))
    assert type(error) is SpecialError and str(error) == "'x' is unknown."
    assert (error.parameter, error.hint, error.name) == ("name", "resume", "x")


def test_a_long_list_is_shortened_to_its_first_names_and_a_count():
    assert shorten(["a", "b", "c"]) == "a, b, c"
    assert shorten(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert shorten(["a", "b"], shown=1) == "a and 1 more"


def test_an_error_is_quoted_without_line_breaks():
    assert one_line(ValueError("first\n  second\t third")) == "first second third"
    assert one_line(ValueError("no image <_io.BytesIO object at 0x7f>")) == "no image"


@pytest.mark.parametrize("value", [1, -1, 2.0, "2", None, True])
def test_what_is_no_integer_in_range_is_refused_with_name_value_and_parameter(value):
    check_count("steps", 2, 2)
    text = rf"^train\.steps must be an integer >= 2, or null \(off\), got {value!r}\.$"
    with pytest.raises(InputError, match=text) as caught:
        check_count("train.steps", value, 2, "steps", alternative="null (off)")
    assert caught.value.parameter == "steps"
