"""Train the chapter's own NumPy network, and its variants, on MNIST: experiments/neuron_to_network.json.

    python experiments/neuron_to_network.py             all runs; about 6 minutes of processor time on one thread

The code that is trained is not here: it is read from the cells of `chapters/concepts/neuron-to-network.ipynb` that
carry the tag `network`, so that what is recorded is what the chapter shows. `mutants` in those cells are edits of the
backward pass, each one a mistake. Training images are the first 50,000 of MNIST's training set, validation images its
last 10,000. The learning rate was chosen on the validation images (the runs named `rate`); every variant is also run at
a gentler one. The test images were used once a run, after the last epoch, by `network` and `softmax regression` at the
chosen rate. A run that is in the record is not run again.
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
CHAPTER = Path(__file__).parents[1] / "chapters" / "concepts" / "neuron-to-network.ipynb"
WIDTHS = [784, 128, 10]
BATCH_SIZE = 100
RATE = 0.5
GENTLE = 0.1
RATES = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
SCALES = [0.0, 0.01, 0.1, 10.0]
HEADER = {
    "about": "the chapter's NumPy network on 50,000 training images of MNIST; 10,000 others validate, 10,000 test",
    "batch_size": BATCH_SIZE,
    "versions": {"python": platform.python_version(), "numpy": np.__version__},
}


def chapter_code():
    """Return the names that the chapter's cells with the tag `network` define."""
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    source = ["".join(cell["source"]) for cell in cells if "network" in cell["metadata"].get("tags", [])]
    names = {"np": np, "backward_source": next(cell for cell in source if "def backward" in cell)}
    for cell in source:
        exec(cell, names)
    return names


def load_data():
    """Return training, validation and test images, float32 rows of 784 between 0 and 1, each with its labels."""
    (x_train, y_train), (x_test, y_test) = load_mnist()
    x_train, x_test = (x.reshape(-1, 784).astype("float32") / 255 for x in (x_train, x_test))
    return (x_train[:50_000], y_train[:50_000]), (x_train[-10_000:], y_train[-10_000:]), (x_test, y_test)


def start(names, variant, seed):
    """Return the first weights of a variant: He's, or zero, equal, or He's times a factor."""
    widths = [784, 10] if variant == "softmax regression" else WIDTHS
    layers = names["initialise"](widths, seed)
    for kernel, _ in layers:
        if variant.startswith("scale "):
            kernel *= float(variant.split()[1])
        elif variant == "all weights 0.1":
            kernel[:] = 0.1
    return layers


def run(names, data, variant, seed, epochs, rate=RATE):
    """Train one variant from one seed and return what the record holds of it."""
    names = dict(names)
    if variant in names["mutants"]:
        exec(names["backward_source"].replace(*names["mutants"][variant]), names)
    if variant == "linear stack":
        names["relu"] = lambda z: z
        exec(names["backward_source"].replace(" * (hidden[index] > 0)", ""), names)
        names["forward"] = type(names["forward"])(names["forward"].__code__, names)  # sees the new relu
    layers = start(names, variant, seed)
    forward, backward = names["forward"], names["backward"]
    images, labels = data[0]
    generator = np.random.default_rng(seed)
    record = {"variant": variant, "seed": seed, "epochs": epochs, "learning_rate": rate}
    record |= {"loss": [], "validation_loss": [], "validation_accuracy": []}
    started = time.process_time()
    for _ in range(epochs):
        losses = []
        for chosen in generator.permutation(len(images)).reshape(-1, BATCH_SIZE):
            hidden, logits = forward(images[chosen], layers)
            losses.append(names["cross_entropy"](logits, labels[chosen]))
            names["descend"](layers, backward(hidden, logits, labels[chosen], layers), rate)
        _, logits = forward(data[1][0], layers)
        record["loss"].append(short(np.mean(losses), 5))
        record["validation_loss"].append(short(names["cross_entropy"](logits, data[1][1]), 5))
        record["validation_accuracy"].append(short(np.mean(logits.argmax(axis=1) == data[1][1]), 5))
    if variant in ("network", "softmax regression") and rate == RATE:
        _, logits = forward(data[2][0], layers)
        record["test_accuracy"] = short(np.mean(logits.argmax(axis=1) == data[2][1]), 5)
    return record | {"cpu_seconds": round(time.process_time() - started, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    names, data, runs = chapter_code(), load_data(), read_runs(RECORD, HEADER)
    variants = ["network", "softmax regression", "linear stack", *names["mutants"], "all weights 0.1"]
    variants += [f"scale {scale:g}" for scale in SCALES]
    plan = [("rate", 100, 3, rate) for rate in RATES]
    plan += [(variant, seed, 10, rate) for rate in (RATE, GENTLE) for variant in variants for seed in range(5)]
    done = {(run["variant"], run["seed"], run["epochs"], run["learning_rate"]) for run in runs}
    for settings in plan:
        if settings not in done:
            runs.append(run(names, data, *settings))
            write_runs(RECORD, HEADER, runs)
            print(*settings, runs[-1]["validation_accuracy"], runs[-1]["cpu_seconds"], flush=True)


if __name__ == "__main__":
    with np.errstate(all="ignore"):  # a variant that diverges is recorded as one that answers nothing
        main()
