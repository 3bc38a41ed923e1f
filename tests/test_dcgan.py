"""The record of the chapter on written digits is whole, and what it ships for the page is small and writes digits."""
import json
from pathlib import Path

import numpy as np

from imagebook.widgets.digit_writer import DigitWriter

ROOT = Path(__file__).parent.parent
WRITER = ROOT / "imagebook" / "files" / "digit_writer.npz"


def test_writers_are_small_and_put_ink_in_the_middle():
    assert WRITER.stat().st_size < 600_000
    with np.load(WRITER) as file:
        arrays = dict(file)
    for name in arrays["names"]:
        figure = DigitWriter(arrays, choice={"model": str(name), "digit": 0})
        images = np.stack([figure.image(digit) for digit in range(10)])
        assert images[:, 6:22, 6:22].mean() > 10 * images[:, [0, -1]].mean()


def test_each_comparison_has_three_seeds_of_what_it_claims():
    runs = json.loads((ROOT / "experiments" / "dcgan.json").read_text(encoding="utf-8"))["runs"]
    for wanted in ({"part": "models", "model": "GAN"}, {"part": "few", "many": 100}, {"part": "few", "many": 1000}):
        seeds = [run["seed"] for run in runs if wanted.items() <= run.items()]
        assert sorted(seeds) == [0, 1, 2], wanted
