"""Take one part at a time out of the repaired program: experiments/repaired_ablation.json.

    python experiments/repaired_ablation.py              36 runs; about 30 minutes of processor time on one thread
    python experiments/repaired_ablation.py --seeds 5    further seeds, added to those recorded

The article's program with Adadelta at the learning rate 1.0 of its paper, on the first 10,000 training images of
MNIST for eight epochs; the last 10,000 training images validate. The test images are not touched. A run that is
already in the record is not run again.
"""
import argparse
import platform
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from imagebook import load_mnist
from imagebook.records import read_runs, short, write_runs

RECORD = Path(__file__).with_suffix(".json")
EPOCHS, BATCH_SIZE, TRAINING, VALIDATION = 8, 128, 10_000, 10_000
# What each variant leaves out of the network, or does to pixels and labels; the names are those of the article's lines.
LEFT_OUT = {
    "nothing": set(),
    "conv 1": {"conv 1"},
    "conv 2": {"conv 2"},
    "both convolutions": {"conv 1", "conv 2", "pooling"},
    "pooling": {"pooling"},
    "dropout 0.25": {"dropout 0.25"},
    "dropout 0.5": {"dropout 0.5"},
    "both dropouts": {"dropout 0.25", "dropout 0.5"},
    "dense 1": {"dense 1", "dropout 0.5"},
    "division by 255": {"division by 255"},
    "one-hot labels": {"one-hot labels"},
    "zero as background": {"zero as background"},
}
HEADER = {
    "about": "the article's network with Adadelta at 1.0 on 10,000 training images of MNIST; 10,000 others validate",
    "epochs": EPOCHS,
    "batch_size": BATCH_SIZE,
    "versions": {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    },
}


def make_model(without):
    """Return the article's network without the named parts."""
    parts = {
        "conv 1": layers.Conv2D(32, 3, activation="relu"),
        "conv 2": layers.Conv2D(64, 3, activation="relu"),
        "pooling": layers.MaxPooling2D(2),
        "dropout 0.25": layers.Dropout(0.25),
        "flatten": layers.Flatten(),
        "dense 1": layers.Dense(128, activation="relu"),
        "dropout 0.5": layers.Dropout(0.5),
        "dense 2": layers.Dense(10, activation="softmax"),
    }
    return keras.Sequential([keras.Input((28, 28, 1)), *(part for name, part in parts.items() if name not in without)])


def load_data(without):
    """Return (pixels, labels) for training and validation; pixels float32 of shape (n, 28, 28, 1)."""
    (images, digits), _ = load_mnist()
    chosen = np.r_[:TRAINING, len(images) - VALIDATION:len(images)]
    pixels, labels = images[chosen, ..., None].astype(np.float32), digits[chosen]
    if "division by 255" not in without:
        pixels /= 255
    if "zero as background" in without:  # standardised: mean 0 and standard deviation 1 on the training images
        pixels = (pixels - pixels[:TRAINING].mean()) / pixels[:TRAINING].std()
    if "one-hot labels" not in without:
        labels = keras.utils.to_categorical(labels, 10)
    return (pixels[:TRAINING], labels[:TRAINING]), (pixels[TRAINING:], labels[TRAINING:])


def run(left_out, seed):
    """Train the variant from this seed; return what the record holds of it."""
    without = LEFT_OUT[left_out]
    keras.utils.set_random_seed(seed)
    model = make_model(without)
    training, validation = load_data(without)
    loss = "sparse_categorical_crossentropy" if "one-hot labels" in without else "categorical_crossentropy"
    model.compile(loss=loss, optimizer=keras.optimizers.Adadelta(1.0), metrics=["accuracy"])
    started = time.process_time()
    history = model.fit(*training, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0, validation_data=validation).history
    seconds = time.process_time() - started
    curves = {name: [short(value) for value in values] for name, values in history.items()}
    return {**curves, "cpu_seconds": round(seconds, 1), "parameters": model.count_params()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 (default: %(default)s)")
    runs = read_runs(RECORD, HEADER)
    done = {(run["left_out"], run["seed"]) for run in runs}
    for seed in range(parser.parse_args().seeds):
        for left_out in LEFT_OUT:
            if (left_out, seed) in done:
                continue
            runs.append({"left_out": left_out, "seed": seed, **run(left_out, seed)})
            write_runs(RECORD, HEADER, runs)
            print(left_out, seed, runs[-1]["val_accuracy"][-1], runs[-1]["cpu_seconds"], sep="  ", flush=True)


if __name__ == "__main__":
    main()
