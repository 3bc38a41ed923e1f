"""The best answer within 1,200 CPU seconds: experiments/fast_best.json and fast_best.npz.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \\
        python experiments/fast_best.py selection    the steps towards it, on 50,000 images, judged on 10,000 others
        python experiments/fast_best.py members      the frozen recipe on 60,000 images, one member after the other
        python experiments/fast_best.py score        the ensemble on the test images, once

The selection takes about 14 minutes of one thread, the members 17. The selection never sees a test image. A member stores what it answers to the test images, five views of each, but no
accuracy; the score is taken when all members are there. The number of epochs of a member, twelve, was chosen on the
validation images. A run that is in the record is not run again.

On validation images the mean of five views, the image and its shifts by a pixel, is better than one view, for each
member and for five together; so the frozen recipe answers with it. fast_best.npz holds probabilities as bytes (255 is
1): validation/warped images/<seed>/views and test/<seed>/views. Those of one view are kept only until the accuracies
that need them are in the record, for the file to be small.
"""
import platform
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from imagebook.records import read_runs, write_arrays, write_runs
from fast import MEAN, DEVIATION, VALIDATION, OneCycle, load_arrays

HERE = Path(__file__).parent
RECORD, ARRAYS = HERE / "fast_best.json", HERE / "fast_best.npz"
RECIPE = {
    "maps": [16, 32, 64], "units": 128, "normalised": True, "warped": True, "schedule": "one-cycle",
    "rate": 0.006, "warm": 0.2, "batch_size": 100, "smoothing": 0.03, "epochs": 6,
}  # fmt: skip
WARP = {"shift": 1.5, "turn": 0.2, "scale": 0.12, "shear": 0.15, "bend": 1.5}
STEPS = {  # what a step changes in the recipe, and how many seeds it has
    "plain": ({"normalised": False, "warped": False}, 3),
    "batch normalisation": ({"warped": False}, 3),
    "warped images": ({}, 5),
    "constant rate": ({"schedule": "constant", "rate": 0.001}, 2),
    "twice as long": ({"epochs": 12}, 2),
    "twice as long, not warped": ({"warped": False, "epochs": 12}, 2),
    "twice the maps": ({"maps": [32, 64, 128]}, 1),
}
TEAM = "warped images"  # whose members are also judged together
FINAL = {"members": 12} | RECIPE | {"epochs": 12}
SHIFTS = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
HEADER = {
    "about": "MNIST on one thread of a processor; selection: 50,000 training images and 10,000 for validation; members: 60,000",
    "recipe": RECIPE,
    "warp": WARP,
    "final": FINAL,
    "views": SHIFTS,
    "versions": {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    },
}


def smooth_basis(points=5, width=0.7):
    """Return how much each of points × points knobs moves each of the 784 pixels, shape (784, points²)."""
    place = np.linspace(0, points - 1, 28)
    weight = np.exp(-0.5 * ((place[:, None] - np.arange(points)) / width) ** 2)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.einsum("ia,jb->ijab", weight, weight).reshape(784, -1).astype("float32")


BASIS = smooth_basis()
ROW, COLUMN = (grid.ravel().astype("float32") - 13.5 for grid in np.mgrid[:28, :28])


def warp(images, random, shift, turn, scale, shear, bend):
    """Return each image (28, 28, 1), uint8, as a slightly different hand might have written it.

    Every pixel is fetched from a place that is turned, scaled, sheared, bent (a smooth field of displacements, `bend`
    pixels the deviation of its knobs) and shifted, by amounts drawn for each image, linearly between four pixels.
    """
    many = len(images)

    def draw(size):
        return random.uniform(-size, size, (many, 1)).astype("float32")

    angle, down, across = draw(turn), 1 + draw(scale), 1 + draw(scale)
    bent = (bend * random.standard_normal((2, many, BASIS.shape[1]), dtype="float32")) @ BASIS.T
    row = down * (np.cos(angle) * ROW - np.sin(angle) * COLUMN) + bent[0] + draw(shift) + 14.5
    column = across * (np.sin(angle) * ROW + np.cos(angle) * COLUMN) + draw(shear) * ROW + bent[1] + draw(shift) + 14.5
    row, column = np.clip(row, 0, 28.99), np.clip(column, 0, 28.99)
    i, j = row.astype("int32"), column.astype("int32")
    row -= i
    column -= j
    padded = np.zeros((many, 31, 31), "uint8")
    padded[:, 1:29, 1:29] = images[..., 0]
    padded = padded.ravel()
    place = (31 * 31 * np.arange(many, dtype="int32"))[:, None] + 31 * i + j
    above = padded[place] * (1 - column) + padded[place + 1] * column
    below = padded[place + 31] * (1 - column) + padded[place + 32] * column
    return (above * (1 - row) + below * row + 0.5).astype("uint8").reshape(images.shape)


def warp_all(images, random):
    """Return all images warped, 500 at a time, which is faster than all at once."""
    return np.concatenate([warp(images[i : i + 500], random, **WARP) for i in range(0, len(images), 500)])


def make_network(settings):
    """Return the untrained network: images (28, 28, 1), uint8, to ten logits."""

    def convolution(maps, size, strides=1):
        yield layers.Conv2D(maps, size, strides=strides, padding="same", use_bias=not settings["normalised"])
        if settings["normalised"]:
            yield layers.BatchNormalization(momentum=0.95)
        yield layers.ReLU()

    edges, parts, wholes = settings["maps"]
    return keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / (255 * DEVIATION), -MEAN / DEVIATION),
        *convolution(edges, 5, strides=2), *convolution(parts, 3), layers.MaxPooling2D(),
        *convolution(wholes, 3), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(settings["units"], activation="relu"), layers.Dense(10),
    ])  # fmt: skip


def probabilities(model, images):
    """Return the probabilities of one view and the mean of five views, both as bytes, and the CPU seconds of each."""
    started = time.process_time()
    views = []
    for shift in SHIFTS:
        logits = model.predict(np.roll(images, shift, axis=(1, 2)), batch_size=500, verbose=0)
        views.append(keras.ops.convert_to_numpy(keras.ops.softmax(logits)))
        if len(views) == 1:
            once = time.process_time() - started
    as_bytes = [np.round(255 * value).astype("uint8") for value in (views[0], np.mean(views, axis=0))]
    return *as_bytes, round(once, 2), round(time.process_time() - started, 2)


def train(settings, seed, x, y, keep_last=0):
    """Return the trained model, the loss of each epoch, CPU seconds (all, and of warping), and the last epochs' weights."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    started, warping, losses, kept = time.process_time(), 0, [], []
    model = make_network(settings)
    rate, updates = settings["rate"], settings["epochs"] * len(x) // settings["batch_size"]
    model.compile(
        optimizer=keras.optimizers.Adam(OneCycle(rate, updates, settings["warm"]) if settings["schedule"] == "one-cycle" else rate),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings["smoothing"]),
        steps_per_execution=20,
    )
    for _ in range(settings["epochs"]):
        order = random.permutation(len(x))
        shown, paused = x[order], time.process_time()
        if settings["warped"]:
            shown = warp_all(shown, random)
        warping += time.process_time() - paused
        history = model.fit(shown, y[order], batch_size=settings["batch_size"], shuffle=False, verbose=0).history
        losses.append(round(float(history["loss"][0]), 5))
        kept = (kept + [model.get_weights()])[-keep_last:] if keep_last else kept
    return model, losses, {"cpu_seconds": round(time.process_time() - started, 1), "warp_seconds": round(warping, 1)}, kept


def accuracy(values, y):
    return round(float(np.mean(values.argmax(axis=1) == y.argmax(axis=1))), 4)


def read_record():
    """Return the recorded runs and arrays. Raises SystemExit where they came from other settings or versions."""
    runs = read_runs(RECORD, HEADER)
    if not runs:
        return [], {}
    with np.load(ARRAYS, allow_pickle=False) as file:
        return runs, dict(file)


def write_record(runs, arrays):
    """Replace both files."""
    write_arrays(ARRAYS, **arrays)  # first: a run that is in the record has its arrays
    write_runs(RECORD, HEADER, runs)


def select(runs, arrays, x, y, names):
    """Train the named steps (or all) on all but the last 10,000 training images, and judge them on these."""
    shown, held = (x[:-VALIDATION], y[:-VALIDATION]), (x[-VALIDATION:], y[-VALIDATION:])
    done = {(run["step"], run["seed"]) for run in runs}
    for seed in range(max(seeds for _, seeds in STEPS.values())):
        for step, (changes, seeds) in STEPS.items():
            if seed >= seeds or (step, seed) in done or names and step not in names:
                continue
            averaged = step == "constant rate"
            model, losses, seconds, kept = train(RECIPE | changes, seed, *shown, keep_last=3 * averaged)
            run = {"step": step, "seed": seed, "parameters": model.count_params(), "loss": losses, **seconds}
            one, views, *times = probabilities(model, held[0])
            run |= {"val_accuracy": accuracy(one, held[1]), "val_accuracy_views": accuracy(views, held[1]), "answer_seconds": times}
            if averaged:
                model.set_weights([np.mean(values, axis=0) for values in zip(*kept)])
                run["val_accuracy_averaged"] = accuracy(probabilities(model, held[0])[0], held[1])
            if step == TEAM:
                arrays[f"validation/{step}/{seed}"], arrays[f"validation/{step}/{seed}/views"] = one, views
            runs.append(run)
            write_record(runs, arrays)
            print(run, flush=True)
    keys = [f"validation/{TEAM}/{seed}" for seed in range(STEPS[TEAM][1])]
    if all(key in arrays for key in keys):
        together = [np.mean([arrays[key + ending] for key in keys], axis=0) for ending in ("", "/views")]
        result = {"step": f"{len(keys)} members", "seed": None}
        result |= dict(zip(("val_accuracy", "val_accuracy_views"), [accuracy(values, held[1]) for values in together]))
        runs.append(result)
        for key in [key for key in arrays if key.startswith("validation") and key.removesuffix("/views") not in keys] + keys:
            del arrays[key]
        write_record(runs, arrays)
        print(result, flush=True)


def train_members(runs, arrays, x, y, images):
    """Train the members of the frozen recipe on all training images, and store what they answer to the test images."""
    done = {run["seed"] for run in runs if run["step"] == "member"}
    for seed in range(100, 100 + FINAL["members"]):
        if seed in done:
            continue
        model, losses, seconds, _ = train(FINAL, seed, x, y)
        arrays[f"test/{seed}"], arrays[f"test/{seed}/views"], *times = probabilities(model, images)
        runs.append({"step": "member", "seed": seed, "parameters": model.count_params(), "loss": losses, **seconds, "answer_seconds": times})
        write_record(runs, arrays)
        print(runs[-1], flush=True)


def score(runs, arrays, y):
    """Add the accuracy on the test images: of every member, and of the mean of their probabilities."""
    members = [run for run in runs if run["step"] == "member"]
    if len(members) < FINAL["members"]:
        raise SystemExit("Not all members are trained.")
    if any(run["step"] == "ensemble" for run in runs):
        raise SystemExit("The test images were used before.")
    for run in members:
        run["test_accuracy"] = accuracy(arrays[f"test/{run['seed']}"], y)
        run["test_accuracy_views"] = accuracy(arrays[f"test/{run['seed']}/views"], y)
    result = {
        "step": "ensemble", "seed": None,
        "cpu_seconds": round(sum(run["cpu_seconds"] for run in members), 1),
        "answer_seconds": [round(sum(run["answer_seconds"][i] for run in members), 2) for i in (0, 1)],
    }  # fmt: skip
    for key in ("", "/views"):
        mean = np.mean([arrays[f"test/{run['seed']}{key}"] for run in members], axis=0)
        result["test_accuracy" + key.replace("/", "_")] = accuracy(mean, y)
    runs.append(result)
    for run in members:
        del arrays[f"test/{run['seed']}"]
    write_record(runs, arrays)
    print(result)


def main():
    runs, arrays = read_record()
    (x, y), (x_test, y_test) = load_arrays()
    if sys.argv[1:2] == ["selection"]:
        select(runs, arrays, x, y, sys.argv[2:])
    elif sys.argv[1:] == ["members"]:
        train_members(runs, arrays, x, y, x_test)
    elif sys.argv[1:] == ["score"]:
        score(runs, arrays, y_test)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
