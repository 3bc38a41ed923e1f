"""Run the article's program, unchanged, once a seed, and record every epoch: experiments/walkthrough.csv.

    python experiments/walkthrough.py            seeds 0 to 4; about 11 minutes of processor time each
    python experiments/walkthrough.py 5 6        further seeds, added to those recorded

A seed that is already in the file is not run again.
"""
import csv
import runpy
import sys
import time
from pathlib import Path

import keras

from imagebook import load_mnist
from imagebook.records import replacing

HERE = Path(__file__).parent
RECORD = HERE / "walkthrough.csv"
COLUMNS = ["seed", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "cpu_seconds"]


def run(seed):
    """Run the program with this seed and return its rows, one an epoch; `cpu_seconds` is that of the whole run."""
    keras.utils.set_random_seed(seed)
    keras.datasets.mnist.load_data = load_mnist  # the same arrays, without a network
    started = time.process_time()
    program = runpy.run_path(str(HERE / "article_program.py"))
    seconds = round(time.process_time() - started)
    history = program["model"].history.history
    return [
        [seed, epoch + 1, *(f"{history[column][epoch]:.4f}" for column in COLUMNS[2:-1]), seconds]
        for epoch in range(len(history["loss"]))
    ]


def main():
    seeds = [int(argument) for argument in sys.argv[1:]] or range(5)
    rows = []
    if RECORD.exists():
        with open(RECORD, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
    for seed in seeds:
        if str(seed) in {str(row[0]) for row in rows}:
            continue
        rows += run(seed)
        with replacing(RECORD) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


if __name__ == "__main__":
    main()
