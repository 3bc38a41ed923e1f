"""Train a small CNN with four optimizers at nine learning rates, three seeds each: experiments/learning_rates.json.

    python experiments/learning_rates.py             all 108 runs; about 6 minutes on one thread
    python experiments/learning_rates.py --seeds 5   further seeds, added to those recorded

Training images are the first 6,000 of MNIST's training set, validation images its last 2,000; the test set is looked
at once a run, after the last epoch. A run that is already in the record is not run again, so that an interrupted
study goes on where it stopped. Set TF_NUM_INTRAOP_THREADS=1 for times that compare.
"""
import argparse
import json
import math
import os
import platform
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from imagebook import load_mnist

RECORD = Path(__file__).with_suffix(".json")
EPOCHS = 5
BATCH_SIZE = 64
RATES = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0]
OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(),
    "SGD, momentum 0.9": lambda: keras.optimizers.SGD(momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(),
    "Adadelta": lambda: keras.optimizers.Adadelta(),
}
HEADER = {
    "about": "a small CNN on 6,000 training images of MNIST; 2,000 other training images validate, 10,000 test",
    "model": "conv 5×5 stride 2, 8 maps, ReLU; conv 3×3, 16 maps, ReLU; max pooling 2×2; dense 10, softmax",
    "epochs": EPOCHS,
    "batch_size": BATCH_SIZE,
    "versions": {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    },
}


def make_model():
    """Return the untrained network: images of shape (28, 28, 1), uint8, to ten probabilities."""
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(8, 5, strides=2, activation="relu"),
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ])


def load_data():
    """Return (images, labels) for training, validation and test; images of shape (n, 28, 28, 1), uint8."""
    (x_train, y_train), (x_test, y_test) = load_mnist()
    x_train, x_test = x_train[..., None], x_test[..., None]
    return (x_train[:6000], y_train[:6000]), (x_train[-2000:], y_train[-2000:]), (x_test, y_test)


class Study:
    """One compiled model for all runs of an optimizer: compiling anew would take longer than training."""

    def __init__(self, optimizer, data):
        self.data = data
        self.model = make_model()
        self.model.compile(OPTIMIZERS[optimizer](), "sparse_categorical_crossentropy", metrics=["accuracy"])
        self.model.optimizer.build(self.model.trainable_variables)
        self.start = [variable.numpy() for variable in self.model.optimizer.variables]
        self.train(epochs=1)  # the first call compiles: its time belongs to no run
        self.model.evaluate(*data[2], batch_size=1000, verbose=0)

    def train(self, epochs=EPOCHS):
        """Train the model as it stands and return Keras's history."""
        images, labels = self.data[0]
        history = self.model.fit(
            images, labels, validation_data=self.data[1], batch_size=BATCH_SIZE, epochs=epochs, verbose=0
        )
        return history.history

    def run(self, rate, seed):
        """Train from the first weights of this seed at this learning rate; return what the record holds of it."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(make_model().get_weights())
        for variable, value in zip(self.model.optimizer.variables, self.start):
            variable.assign(value)
        self.model.optimizer.learning_rate = rate
        started = time.process_time()
        history = self.train()
        seconds = time.process_time() - started
        _, accuracy = self.model.evaluate(*self.data[2], batch_size=1000, verbose=0)
        curves = {name: [short(value) for value in values] for name, values in history.items()}
        size = self.model.count_params()
        return {**curves, "test_accuracy": short(accuracy), "cpu_seconds": round(seconds, 2), "parameters": size}


def short(value):
    """Return a number with four significant digits, or None for one that is infinite or not a number."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def read_record():
    """Return the recorded runs. Raises SystemExit where they came from other settings or package versions."""
    if not RECORD.exists():
        return []
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    runs = record.pop("runs")
    if record != HEADER:
        raise SystemExit(f"{RECORD} was recorded with other settings or versions: move it away to record anew.")
    return runs


def write_record(runs):
    """Replace the record at once, so that an interruption leaves the old one; one run a line."""
    header = json.dumps(HEADER, ensure_ascii=False, indent=1).removesuffix("\n}")
    lines = ",\n".join(json.dumps(run, allow_nan=False, separators=(",", ":")) for run in runs)
    beside = RECORD.with_suffix(".partial")
    beside.write_text(f'{header},\n "runs": [\n{lines}\n]}}\n', encoding="utf-8")
    os.replace(beside, RECORD)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 (default: %(default)s)")
    seeds = range(parser.parse_args().seeds)
    runs = read_record()
    done = {(run["optimizer"], run["learning_rate"], run["seed"]) for run in runs}
    data = load_data()
    for optimizer in OPTIMIZERS:
        missing = [(rate, seed) for rate in RATES for seed in seeds if (optimizer, rate, seed) not in done]
        study = Study(optimizer, data) if missing else None
        for rate, seed in missing:
            settings = {"optimizer": optimizer, "learning_rate": rate, "seed": seed}
            runs.append({**settings, **study.run(rate, seed)})
            write_record(runs)
            print(*settings.values(), runs[-1]["test_accuracy"], sep="  ", flush=True)


if __name__ == "__main__":
    main()
