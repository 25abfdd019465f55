"""Links of the built documentation site."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "docs" / "scripts"))

from links import find_problems


def site_with(folder: Path, body: str) -> Path:
    (folder / "guide").mkdir()
    (folder / "guide" / "page.html").write_text('<h2 id="start">Start</h2><a href="../index.html">')
    (folder / "index.html").write_text(body)
    return folder


def test_links_to_pages_anchors_and_other_sites_are_fine(tmp_path):
    body = '<a href="guide/page.html#start"><a href="#here"><p id="here"><a href="https://a.b/c">'
    assert find_problems(site_with(tmp_path, body)) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="guide/other.html">', "guide/other.html"),
        ('<a href="guide/page.html#end">', "guide/page.html#end"),
        ('<a href="#nowhere">', "#nowhere"),
        ('<img src="picture.png">', "picture.png"),
        ('<script src="https://cdn.example/x.js"></script>', "https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="https://cdn.example/x.css">', "https://cdn.example/x.css"),
    ],
)
def test_a_broken_link_or_a_file_from_elsewhere_is_named_with_its_page(tmp_path, body, problem):
    (text,) = find_problems(site_with(tmp_path, body))
    assert text.startswith("index.html") and problem in text
