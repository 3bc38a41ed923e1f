"""Train the chapter's NumPy CNN, a dense network and five mistakes on MNIST: experiments/cnn_numpy.json.

    python experiments/cnn_numpy.py             all 60 runs; about 7 minutes of processor time on one thread

The code that is trained is not here: it is read from the cells of `chapters/algorithms/cnn.ipynb` that carry the tag
`numpy-network`, so that what is recorded is what the chapter shows. `mutants` in those cells are edits of the backward
passes, each one a mistake. Training images are the first 10,000 of MNIST's training set, validation images its last
5,000. The learning rate of each network was chosen on the validation images (the runs named `rate`, seeds 100 and 101).
The test images were used once a run, after the last epoch, by the two networks at the chosen rate. A run that is in the
record is not run again.
"""
import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np

from imagebook import load_mnist
from imagebook.records import read_runs, short, write_runs

RECORD = Path(__file__).with_suffix(".json")
CHAPTER = Path(__file__).parents[1] / "chapters" / "algorithms" / "cnn.ipynb"
RATES = [0.01, 0.02, 0.05, 0.1, 0.2]
EPOCHS, LONG = 5, 100
HEADER = {
    "about": "the chapter's NumPy CNN and a dense network on 10,000 training images of MNIST; 5,000 others validate, 10,000 test",
    "batch_size": 50,
    "momentum": 0.9,
    "versions": {"python": platform.python_version(), "numpy": np.__version__},
}


def chapter_code():
    """Return the source of the chapter's cells with the tag `numpy-network`, one after another."""
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if "numpy-network" in cell["metadata"].get("tags", []))


def load_data():
    """Return training, validation and test images, float32 of shape (n, 28, 28, 1) from 0 to 1, each with labels."""
    (x_train, y_train), (x_test, y_test) = load_mnist()
    x_few, x_valid, x_test = (x[..., None].astype("float32") / 255 for x in (x_train[:10_000], x_train[-5000:], x_test))
    return (x_few, y_train[:10_000].astype(int)), (x_valid, y_train[-5000:].astype(int)), (x_test, y_test.astype(int))


def run(source, data, purpose, network, variant, seed, rate, epochs):
    """Train one network, right or with one mistake, and return what the record holds of it."""
    names = {"np": np}
    exec(source, names)
    if variant != "right":
        exec(source.replace(*names["mutants"][variant]), names)
    record = {"purpose": purpose, "network": network, "variant": variant, "seed": seed, "learning_rate": rate, "epochs": epochs}
    generator = np.random.default_rng(seed)
    layers = names[network](generator)
    losses, accuracies, seconds = [], [], 0.0
    for _ in range(epochs):
        started = time.process_time()
        steps = names["train_numpy"](layers, *data[0], rate, 1, generator)
        seconds += time.process_time() - started
        losses.append(short(np.mean(steps), 5))
        accuracies.append(short(names["numpy_accuracy"](layers, *data[1]), 5))
    record |= {"loss": losses, "validation_accuracy": accuracies}
    if purpose == "final" and variant == "right":
        record["test_accuracy"] = short(names["numpy_accuracy"](layers, *data[2]), 5)
    return record | {"cpu_seconds": round(seconds, 1)}


def best_rate(runs, network):
    """Return the rate whose two runs ended, on average, with the highest validation accuracy."""
    tried = [run for run in runs if run["purpose"] == "rate" and run["network"] == network]
    return max(RATES, key=lambda rate: sum(run["validation_accuracy"][-1] for run in tried if run["learning_rate"] == rate))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 (default: %(default)s)")
    seeds = range(parser.parse_args().seeds)
    source, data, runs = chapter_code(), load_data(), read_runs(RECORD, HEADER)
    settings = ("purpose", "network", "variant", "seed", "learning_rate", "epochs")

    def record(*values):
        if values not in {tuple(run[name] for name in settings) for run in runs}:
            runs.append(run(source, data, *values))
            write_runs(RECORD, HEADER, runs)
            print(*values, runs[-1]["validation_accuracy"][-1], sep="  ", flush=True)

    for network in ("small_cnn", "dense_network"):
        for rate in RATES:
            for seed in (100, 101):
                record("rate", network, "right", seed, rate, EPOCHS)
    for seed in seeds:
        rate = best_rate(runs, "dense_network")
        record("final", "dense_network", "right", seed, rate, EPOCHS)
        record("final", "dense_network", "right", seed, rate, LONG)
        rate = best_rate(runs, "small_cnn")
        names = {"np": np}
        exec(source, names)
        for variant in ("right", *names["mutants"]):
            record("final", "small_cnn", variant, seed, rate, EPOCHS)


if __name__ == "__main__":
    main()
