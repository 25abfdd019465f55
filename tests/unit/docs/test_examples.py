"""Examples in Python on pages of the documentation run as they stand there."""

import re

import pytest

PAGES = ("docs/how_to/weights.md",)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page, repository_root):
    text = (repository_root / page).read_text()
    examples = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, page, "exec"), {"__name__": "example"})
