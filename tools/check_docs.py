"""Check the prose of Markdown files: sentences of at most 30 words, and no filler words.

Without arguments, all tracked Markdown files are checked. Code, tables, headings and quotations
(lines with `>`) are left out.

Example: python tools/check_docs.py README.md docs
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_WORDS = 30
FILLERS = re.compile(
    r"\b(simply|obviously|basically|of course|very|quite|in order to|it should be noted|"
    r"needless to say|as you can see|easily|effortless\w*|powerful|state[- ]of[- ]the[- ]art)\b",
    re.IGNORECASE,
)
# Fenced code, comments, and front matter: replaced by as many empty lines.
_BLOCKS = re.compile(r"^\s*(```|~~~).*?^\s*\1\s*$|<!--.*?-->|\A---\n.*?^---$", re.S | re.M)
_NO_PROSE = re.compile(r"^\s*([|#>]|!\[|<|\$\$|!!!|\?\?\?|:::)")
_NEW_PARAGRAPH = re.compile(r"^\s*([-*+]|\d+\.)\s")
# Of a link, its text; of code, one word, which may begin a sentence.
_LINK, _CODE = re.compile(r"!?\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])"), re.compile(r"(`+).+?\1", re.S)
# An abbreviation or a number does not end a sentence.
_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\bal)[.!?][\"')*_]*\s+(?=[^a-z])")


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number of the first line and the text of each paragraph of prose."""
    text = _BLOCKS.sub(lambda block: "\n" * block[0].count("\n"), text)
    first, lines, after_blank, in_list = 0, [], True, False
    for number, line in enumerate([*text.splitlines(), ""], 1):
        starts_item = bool(_NEW_PARAGRAPH.match(line))
        is_code = line.startswith("    ") and (after_blank or not lines) and not in_list
        ends = not line.strip() or bool(_NO_PROSE.match(line)) or is_code
        if (ends or starts_item) and lines:
            yield first, " ".join(lines)
            lines = []
        if not ends:
            first = first if lines else number
            lines.append(_NEW_PARAGRAPH.sub("", line).strip())
        after_blank = not line.strip()
        in_list = starts_item or (in_list and (after_blank or line.startswith(" ")))


def find_problems(text: str) -> list[tuple[int, str]]:
    """Return line number and description of each long sentence and each filler word."""
    problems = []
    for number, paragraph in paragraphs(text):
        prose = _LINK.sub(r"\1", _CODE.sub("X", paragraph))
        for sentence in _END.split(prose):
            words = [word for word in sentence.split() if re.search(r"\w", word)]
            if len(words) > MAX_WORDS:
                problems.append((number, f"{len(words)} words: {' '.join(words[:6])} …"))
        problems += [(number, f"filler word '{match[0]}'") for match in FILLERS.finditer(prose)]
    return problems


def tracked_files() -> list[Path]:
    """Return the Markdown files that git tracks or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.splitlines() if (ROOT / name).is_file()]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", type=Path, help="files and folders (default: tracked)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    paths = build_parser().parse_args(argv).paths or tracked_files()
    files = [f for path in paths for f in (sorted(path.rglob("*.md")) if path.is_dir() else [path])]
    problems = [(f, *problem) for f in files for problem in find_problems(f.read_text("utf-8"))]
    for file, number, problem in problems:
        print(f"{file}:{number}: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    raise SystemExit(main())
