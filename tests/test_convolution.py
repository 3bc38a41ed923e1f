"""The record of experiments/convolution.py: whole, and as the theory of the chapter demands."""
import json
from pathlib import Path

RECORD = Path(__file__).parent.parent / "experiments" / "convolution.json"
runs = json.loads(RECORD.read_text(encoding="utf-8"))["runs"]


def test_every_network_has_three_seeds_or_more():
    settings = [(run["halving"], run["head"], run["seed"]) for run in runs]
    assert len(settings) == len(set(settings))
    networks = {setting[:2] for setting in settings}
    assert len(networks) == 11
    assert all({(*network, seed) for seed in range(3)} <= set(settings) for network in networks)


def test_a_shift_by_the_total_stride_changes_no_answer_where_places_are_averaged():
    averaged = [run for run in runs if run["head"] == "global"]
    assert all(run["changed_of_10000"][-1] == 0 for run in averaged)
    assert all(run["shifted_accuracy"][-1] == run["test_accuracy"] for run in averaged)
    assert all(min(run["changed_of_10000"][:-1]) > 0 for run in averaged)
