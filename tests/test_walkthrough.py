"""The walkthrough shows the article's program, statement for statement, and what was recorded of it."""
import ast
import csv
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent
ARTICLE = ROOT / "experiments" / "article_program.py"
# The two lines that differ: the article's fetch the data from a server, ours have them.
OURS = {"from keras.datasets import mnist": "from imagebook import load_mnist", "mnist.load_data()": "load_mnist()"}


def statements(source):
    return [ast.unparse(statement) for statement in ast.parse(source).body]


def test_program_is_the_articles():
    notebook = nbformat.read(ROOT / "chapters/mnist/walkthrough.ipynb", as_version=4)
    shown = [cell.source for cell in notebook.cells if "article" in cell.metadata.get("tags", [])]
    article = ARTICLE.read_text(encoding="utf-8")
    for theirs, ours in OURS.items():
        assert article.count(theirs) == 1
        article = article.replace(theirs, ours)
    expected = statements(article)
    assert statements("\n".join(shown)) == expected


def test_record_is_complete():
    with open(ROOT / "experiments/walkthrough.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    seeds = {row["seed"] for row in rows}
    assert len(seeds) >= 5
    assert [(row["seed"], int(row["epoch"])) for row in rows] == [(seed, e) for seed in sorted(seeds, key=int) for e in range(1, 11)]
