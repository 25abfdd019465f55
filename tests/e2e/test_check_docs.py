"""The prose check counts the words of sentences, and of nothing else."""

import pytest
from check_docs import MAX_WORDS, find_problems

LONG = "word " * MAX_WORDS + "word"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"# Title\n\n{LONG}.", 3),
        (f"Short one. And\n{LONG}.", 1),
        (f"- {LONG}", 1),
        (f"- item\n- {LONG}", 2),
        (f"- item\n\n    {LONG}", 3),  # a paragraph of the item, not code
        (f"See [{LONG}](page.md).", 1),
        ("This is\nsimply so.", 1),
    ],
)
def test_a_long_sentence_or_a_filler_word_is_found_at_its_paragraph(text, line):
    assert [number for number, _ in find_problems(text)] == [line]


@pytest.mark.parametrize(
    "text",
    [
        "word " * MAX_WORDS,
        "word " * 20 + "end. Next " + "word " * 20,
        "word " * 20 + "end. `code` begins " + "word " * 20,
        f"```\n{LONG}\n```",
        f"Text:\n\n    {LONG}\n",
        f"| {LONG} |",
        f"# {LONG}",
        f"<!-- {LONG}\n{LONG} -->",
        f"A `{LONG}` counts once.",
        "- " + "word " * 20 + "\n- " + "word " * 20,
    ],
)
def test_short_sentences_and_what_is_no_prose_pass(text):
    assert find_problems(text) == []
