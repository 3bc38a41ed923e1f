"""The record of `rnn` is complete, and the chapter's planted mistakes still edit its backward pass."""
import json
from collections import Counter
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parent.parent
RECORD = json.loads((ROOT / "experiments" / "rnn.json").read_text(encoding="utf-8"))
CHAPTER = ROOT / "chapters" / "algorithms" / "rnn.ipynb"


def test_every_start_was_trained_at_every_length_and_rate_with_three_seeds():
    runs = RECORD["runs"]
    seeds = Counter((run["cell"], run["length"], run["learning_rate"]) for run in runs)
    assert set(seeds.values()) == {3}
    assert len({(run["cell"], run["length"], run["learning_rate"], run["seed"]) for run in runs}) == len(runs)
    lengths, rates = ({run[key] for run in runs} for key in ("length", "learning_rate"))
    for cell in ("simple", "orthogonal", "identity"):
        assert {(length, rate) for c, length, rate in seeds if c == cell} == set(product(lengths, rates))


def test_no_run_is_better_than_perfect_or_shorter_than_the_others():
    for run in RECORD["runs"]:
        assert len(run["validation"]) == RECORD["steps"] // RECORD["every"]
        assert run["test"] is None or 0 <= run["test"]


def test_every_planted_mistake_edits_the_backward_pass():
    cells = ["".join(cell["source"]) for cell in json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]]
    backward = next(source for source in cells if source.startswith("def backward(weights"))
    planted = next(source for source in cells if source.startswith("mistakes = {"))
    names = {}
    exec(planted.split("\n}")[0] + "\n}", names)
    for name, (right, wrong) in names["mistakes"].items():
        assert backward.count(right) == 1, name
        assert right != wrong
