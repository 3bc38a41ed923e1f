"""The index of living figures names every figure of every chapter, and no other."""
import inspect
import re
from pathlib import Path

import nbformat

from imagebook import widgets

ROOT = Path(__file__).parent.parent
FIGURES = {name for name in widgets.__all__ if inspect.isclass(getattr(widgets, name))}
INDEX = ROOT / "chapters" / "backmatter" / "living-figures.ipynb"


def shown():
    """Return the pairs (figure, chapter) that code cells make."""
    found = set()
    for path in (ROOT / "chapters").glob("*/*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        found |= {(name, path.stem) for name in re.findall(r"\b(\w+)\(", code) if name in FIGURES}
    return found


def rows():
    """Return the pairs (figure, chapter) of the index, row by row."""
    text = "\n\n".join(cell.source for cell in nbformat.read(INDEX, as_version=4).cells if cell.cell_type == "markdown")
    section = re.search(r"^\(living-figures-index\)=\n## All living figures\n(.+?)(?=^## )", text, flags=re.M | re.S)[1]
    table = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")][2:]
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in table)
    return [(row[0].strip(" `"), re.fullmatch(r"\{ref\}`([\w-]+)`", row[1].strip())[1]) for row in table]


def test_every_figure_is_in_the_index():
    assert {figure for figure, _ in rows()} == FIGURES


def test_the_index_names_the_chapters_that_show_a_figure():
    found = rows()
    assert len(found) == len(set(found)), "a row stands twice"
    assert set(found) == shown()
