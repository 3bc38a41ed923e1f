"""Train the article's network with three optimizers, five seeds each: experiments/repaired.json and repaired.npz.

    python experiments/repaired.py                 15 runs; about 80 minutes of processor time on one thread
    python experiments/repaired.py --seeds 7       further seeds, added to those recorded

The network and the preparation of the data are those of the article's program, and so are its batches of 128 and its
ten epochs; only the optimizer differs, and the last 10,000 training images validate instead of the test images. These
are looked at once a run, after the last epoch. A run that is already in the record is not run again.

repaired.npz holds, for every run `<optimizer>/<seed>`, the digits answered on the test images, and for the repaired
program (Adadelta at 1.0) also the logits on validation and test images, rounded to sixteenths.
"""
import argparse
import itertools
import platform
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from digit_pad import article_program
from imagebook.records import read_runs, short, write_arrays, write_runs

HERE = Path(__file__).parent
RECORD, ANSWERS = HERE / "repaired.json", HERE / "repaired.npz"
EPOCHS, BATCH_SIZE, VALIDATION = 10, 128, 10_000
OPTIMIZERS = {
    "Adadelta, 0.001": lambda: keras.optimizers.Adadelta(),
    "Adadelta, 1.0": lambda: keras.optimizers.Adadelta(1.0),
    "Adam, 0.001": lambda: keras.optimizers.Adam(),
}
REPAIRED = "Adadelta, 1.0"
HEADER = {
    "about": "the article's network on 50,000 training images of MNIST; the other 10,000 validate, 10,000 test",
    "epochs": EPOCHS,
    "batch_size": BATCH_SIZE,
    "versions": {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    },
}


def logits(model, images):
    """Return what the last layer hands to softmax: shape (n, 10), float32."""
    *body, last = model.layers
    hidden = keras.Sequential([keras.Input((28, 28, 1)), *body]).predict(images, batch_size=1000, verbose=0)
    kernel, bias = last.get_weights()
    return hidden @ kernel + bias


def run(optimizer, seed):
    """Train from this seed; return what the record holds of the run, and its arrays by name."""
    keras.utils.set_random_seed(seed)
    program = article_program()
    model, x, y = program["model"], program["x_train"], program["y_train"]
    model.compile(loss="categorical_crossentropy", optimizer=OPTIMIZERS[optimizer](), metrics=["accuracy"])
    started = time.process_time()
    history = model.fit(
        x[:-VALIDATION], y[:-VALIDATION], batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0,
        validation_data=(x[-VALIDATION:], y[-VALIDATION:]),
    ).history
    seconds = time.process_time() - started
    test = logits(model, program["x_test"])
    accuracy = float(np.mean(test.argmax(axis=1) == program["y_test"].argmax(axis=1)))
    curves = {name: [short(value) for value in values] for name, values in history.items()}
    run = {**curves, "test_accuracy": accuracy, "cpu_seconds": round(seconds), "parameters": model.count_params()}
    name = f"{optimizer}/{seed}"
    arrays = {f"answers/{name}": test.argmax(axis=1).astype(np.uint8)}
    if optimizer == REPAIRED:
        for part, values in (("validation", logits(model, x[-VALIDATION:])), ("test", test)):
            arrays[f"logits_{part}/{name}"] = (np.round(16 * values) / 16).astype(np.float16)
    return run, arrays


def read_record():
    """Return the recorded runs and arrays. Raises SystemExit where they came from other settings or versions."""
    runs = read_runs(RECORD, HEADER)
    if not runs:
        return [], {}
    with np.load(ANSWERS, allow_pickle=False) as file:
        return runs, dict(file)


def write_record(runs, arrays):
    """Replace both files."""
    write_arrays(ANSWERS, **arrays)  # first: a run that is in the record has its arrays
    write_runs(RECORD, HEADER, runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 (default: %(default)s)")
    runs, arrays = read_record()
    done = {(run["optimizer"], run["seed"]) for run in runs}
    for seed, optimizer in itertools.product(range(parser.parse_args().seeds), OPTIMIZERS):
        if (optimizer, seed) in done:
            continue
        values, new = run(optimizer, seed)
        runs.append({"optimizer": optimizer, "seed": seed, **values})
        arrays |= new
        write_record(runs, arrays)
        print(optimizer, seed, runs[-1]["test_accuracy"], runs[-1]["cpu_seconds"], sep="  ", flush=True)


if __name__ == "__main__":
    main()
