"""The record of `neuron-to-network` is complete and belongs to the mistakes that the chapter plants."""
import json
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
RECORD = json.loads((ROOT / "experiments" / "neuron_to_network.json").read_text(encoding="utf-8"))
CHAPTER = ROOT / "chapters" / "concepts" / "neuron-to-network.ipynb"


def chapter_sources():
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if "network" in cell["metadata"].get("tags", [])]


def test_every_variant_has_five_seeds_at_both_rates():
    runs = [run for run in RECORD["runs"] if run["variant"] != "rate"]
    seeds = Counter((run["variant"], run["learning_rate"]) for run in runs)
    assert set(seeds.values()) == {5}
    assert len({(run["variant"], run["learning_rate"], run["seed"]) for run in runs}) == len(runs)
    assert {rate for _, rate in seeds} == {0.1, 0.5}


def test_every_planted_mistake_edits_the_backward_pass_and_was_run():
    names = {"np": np}
    for source in chapter_sources():
        exec(source, names)
    backward = next(source for source in chapter_sources() if "def backward" in source)
    variants = {run["variant"] for run in RECORD["runs"]}
    for name, (old, new) in names["mutants"].items():
        assert backward.count(old) == 1, name
        assert name in variants, name
