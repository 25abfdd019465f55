"""HTML page in one file: tables, pictures and texts, without anything from the network."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

_JPEG_QUALITY = 85
_WIDE = 1000  # pixels; of such a picture a narrow page shows a part, legibly

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1150px; padding: 16px; color: #1c1e21; background: #fff;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.6em; line-height: 1.2; margin: 0.2em 0 0.4em; overflow-wrap: anywhere; }
h2 { font-size: 1.2em; margin: 1.8em 0 0.5em; padding-top: 0.6em; border-top: 1px solid #d8dbe0; }
h3 { font-size: 1em; margin: 1.2em 0 0.4em; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; }
a { color: #1357a8; }
p { margin: 0.4em 0; max-width: 75ch; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.87em; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 6px; border-bottom: 1px solid #e4e6ea; text-align: left;
  white-space: nowrap; }
td.number, th.number { text-align: right; }
thead th { white-space: normal; vertical-align: bottom; border-bottom: 2px solid #b9bec6; }
tbody tr:hover { background: #f3f6fa; }
figure { margin: 0.6em 0; }
figcaption { font-size: 0.9em; color: #555; }
img { display: block; max-width: 100%; height: auto; }
.wide img { max-width: max(100%, 720px); }
pre { overflow-x: auto; background: #f6f7f9; padding: 10px; font-size: 0.82em; line-height: 1.4; }
summary { cursor: pointer; font-weight: 600; }
"""


def page(title: str, sections: Sequence[tuple[str, str]], head: str = "") -> str:
    """Return a page.

    Args:
        title: plain text.
        sections: heading as plain text, and HTML, of each.
        head: HTML above the list of the sections.
    """
    names = [f"section-{number}" for number in range(1, len(sections) + 1)]
    links = "".join(
        f'<a href="#{name}">{escape(heading)}</a>'
        for name, (heading, _) in zip(names, sections, strict=True)
    )
    parts = [
        f'<section id="{name}"><h2>{escape(heading)}</h2>{body}</section>'
        for name, (heading, body) in zip(names, sections, strict=True)
    ]
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>{head}<nav>{links}</nav>",
            *parts,
            "</body></html>\n",
        ]
    )


def escape(text: object) -> str:
    """Return plain text as HTML; file names that are not UTF-8 lose what is not."""
    return html.escape(str(text).encode("utf-8", "replace").decode())


def table(columns: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Return a table; columns of numbers stand to the right, None is an empty cell."""
    rows = [[_cell(value) for value in row] for row in rows]
    kinds = [
        ' class="number"' if all(_is_number(row[i]) for row in rows) else ""
        for i in range(len(columns))
    ]

    def line(tag: str, values: Sequence[str]) -> str:
        cells = zip(kinds, values, strict=True)
        return f"<tr>{''.join(f'<{tag}{kind}>{escape(v)}</{tag}>' for kind, v in cells)}</tr>"

    body = "".join(line("td", row) for row in rows)
    head = line("th", columns) if any(columns) else ""
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    try:
        float(text or 0)
    except ValueError:
        return False
    return True


def picture(path: Path, caption: str, *, is_photograph: bool = False) -> str:
    """Return a picture of a file with its caption; its bytes are part of the page.

    Args:
        path: of a PNG file.
        caption: plain text.
        is_photograph: store it as JPEG, which takes a fifth of the space.

    Raises:
        OSError: the file cannot be read.
    """
    content, kind = path.read_bytes(), "png"
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        if is_photograph:
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "JPEG", quality=_JPEG_QUALITY)
            content, kind = buffer.getvalue(), "jpeg"
    data = base64.b64encode(content).decode()
    text = escape(caption)
    kind_of_figure = ' class="scroll wide"' if width > _WIDE else ""
    return (
        f'<figure{kind_of_figure}><img width="{width}" height="{height}" alt="{text}" '
        f'src="data:image/{kind};base64,{data}"><figcaption>{text}</figcaption></figure>'
    )


def folded(summary: str, text: str) -> str:
    """Return a long text behind a heading that opens it."""
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
