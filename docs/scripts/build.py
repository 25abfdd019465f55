"""Build the documentation site: ``make docs``. Every warning is an error; nothing is fetched.

The pages of docs/ are copied to build/docs/, where formulas become MathML, tables and references
are generated from the code, and the files of the top level that are pages too are added. Zensical
makes build/site/ of that, and all links of the result are checked.

Example: python docs/scripts/build.py
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import figures
import links
import reference
from latex2mathml.converter import convert

ROOT = Path(__file__).parents[2]
SOURCE, PAGES, SITE = ROOT / "docs", ROOT / "build" / "docs", ROOT / "build" / "site"
sys.path.insert(0, str(ROOT / "tools"))
import update_tables  # noqa: E402  a tool, no module of the package

# Files outside docs/ that are pages of the site too, where they are there.
INCLUDED = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "datasets/README.md": "how_to/datasets.md",
    "bpt_det/pretrained/README.md": "reference/pretrained.md",
}
COPIED = ("*.md", "*.png", "*.svg", "*.css")
FENCE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$\n]+)\$", re.DOTALL)
LINK = re.compile(r"(?P<before>\[(?P<text>[^\]]*)\]\()(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def main() -> int:
    """Build the site, check it, and say where it is."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    for source, page in find_pages().items():
        target = PAGES / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            target.write_text(prepare(source, page))
        else:
            shutil.copyfile(source, target)
    figures.draw_all(PAGES / "images")
    for page, text in reference.generate_pages().items():
        target = PAGES / page
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    program = Path(sysconfig.get_path("scripts")) / "zensical"
    command = [str(program), "build", "--strict", "--clean", "--config-file", "mkdocs.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    log = done.stdout + done.stderr
    if done.returncode or "warning" in log.lower():
        print(log, file=sys.stderr)
        return 1
    problems = links.find_problems(SITE) + find_unlisted_pages()
    problems += reference.find_missing_names(SITE)
    print("\n".join(f"error: {problem}" for problem in problems), file=sys.stderr, end="")
    if not problems:
        folder, count = SITE.relative_to(ROOT), len(list(SITE.rglob("*.html")))
        print(
            f"{folder}/index.html: {count} pages (python -m http.server -d {folder}: with search)"
        )
    return int(bool(problems))


def find_pages() -> dict[Path, str]:
    """Return the page or picture of the site that each file of the repository becomes."""
    files = [file for pattern in COPIED for file in sorted(SOURCE.rglob(pattern))]
    pages = {file: file.relative_to(SOURCE).as_posix() for file in files}
    included = {ROOT / name: page for name, page in INCLUDED.items() if (ROOT / name).is_file()}
    return {**pages, **included}


def prepare(source: Path, page: str) -> str:
    """Return a page's Markdown with tables filled in, formulas as MathML and links adapted."""
    text = update_tables.update(source.read_text())
    parts = FENCE.split(text)
    parts[::2] = [FORMULA.sub(_mathml, LINK.sub(_Relink(source, page), p)) for p in parts[::2]]
    return "".join(parts)


def _mathml(match: re.Match) -> str:
    block = match["block"]
    if block is None:
        return f"<span>{convert(match['inline'])}</span>"  # a block of its own at a line's start
    return f'\n<div class="formula">{convert(block.strip(), display="block")}</div>\n'


class _Relink:
    """Rewrites a link to another page, which the site may have elsewhere.

    A link to a file that is no page becomes its text: the site knows no address of the repository.
    """

    def __init__(self, source: Path, page: str) -> None:
        self.source, self.page, self.pages = source, page, find_pages()

    def __call__(self, match: re.Match) -> str:
        target = match["target"]
        if re.match(r"[a-z]+:", target):
            return match[0]
        file = (self.source.parent / target).resolve()
        inside = file.is_relative_to(SOURCE)
        if file not in self.pages and inside:  # generated, or broken: then the build says so
            return match[0]
        if file not in self.pages:
            if not file.exists():
                raise SystemExit(f"error: {self.source.relative_to(ROOT)} links to {target}")
            return match["text"]
        up = "../" * self.page.count("/")
        return f"{match['before']}{up}{self.pages[file]}{match['anchor'] or ''})"


def find_unlisted_pages() -> list[str]:
    """Return a line for each page that the navigation of mkdocs.yml leaves out."""
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = set(re.findall(r"[\w/.-]+\.md", nav))
    pages = {file.relative_to(PAGES).as_posix() for file in PAGES.rglob("*.md")}
    return [f"{page} is not in the navigation of mkdocs.yml" for page in sorted(pages - listed)]


if __name__ == "__main__":
    raise SystemExit(main())
