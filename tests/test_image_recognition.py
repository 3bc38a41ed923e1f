"""The recorded experiments of the chapter on image recognition are complete and of one kind."""
import csv
import json
from collections import Counter
from pathlib import Path

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


def test_every_method_was_run_with_every_seed():
    runs = json.loads((EXPERIMENTS / "image_recognition.json").read_text(encoding="utf-8"))["runs"]
    keys = [(run["method"], run["images"], run["scrambled"], run["seed"]) for run in runs]
    assert len(keys) == len(set(keys))
    seeds = set(Counter(key[:3] for key in keys).values())
    assert len(seeds) == 1 and seeds.pop() >= 3


def test_scrambling_changes_nothing_for_pixels():
    runs = json.loads((EXPERIMENTS / "image_recognition.json").read_text(encoding="utf-8"))["runs"]
    found = {
        (run["images"], run["seed"], run["scrambled"]): run["test_accuracy"][0]
        for run in runs
        if run["method"] == "pixels"
    }
    for (images, seed, scrambled), accuracy in found.items():
        assert abs(accuracy - found[images, seed, not scrambled]) < 0.003


def test_pairs_are_complete():
    with (EXPERIMENTS / "image_recognition_pairs.csv").open(newline="", encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    seeds = Counter(run["features"] for run in runs)
    assert set(seeds) == {"pixels", "HOG", "untrained", "learned"} and len(set(seeds.values())) == 1
