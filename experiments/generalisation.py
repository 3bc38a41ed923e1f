"""Train small networks many times, to see how far a measured accuracy can be trusted: experiments/generalisation_*.

    python experiments/generalisation.py peeking        128 runs of one network, right answers counted every epoch
    python experiments/generalisation.py regularisers   dropout × weight decay × training images, 5 seeds
    python experiments/generalisation.py capacity       hidden units × training images, 5 seeds
    python experiments/generalisation.py seeds          two networks, 20 seeds each: which test images are right
    python experiments/generalisation.py shift          four networks, 5 seeds: shifted, turned, noisy, blurred digits
    python experiments/generalisation.py writers        nearest neighbour, folds at random and folds of whole stretches

All of it takes about 13 minutes of processor time on one thread, nearly half of it for the regularisers.
A run that is already in a record is not run again, so that an interrupted study goes on where it stopped. Every
study sets aside the images that it learns from, those that choose (the last of MNIST's training set) and those that
examine. Set TF_NUM_INTRAOP_THREADS=1 and TF_NUM_INTEROP_THREADS=1 for times that compare.
"""
import argparse
import csv
import json
import platform
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from scipy import ndimage, optimize, special

from imagebook import load_mnist
from imagebook.records import replacing, short, write_arrays

FOLDER = Path(__file__).parent
BATCH_SIZE = 50
VERSIONS = {
    "python": platform.python_version(),
    "keras": keras.__version__,
    "tensorflow": tf.__version__,
    "numpy": np.__version__,
}


def dense_network(units, rate=0.0):
    """Return an untrained network with one hidden layer (none for 0 units) and dropout behind it; logits come out."""
    hidden = [layers.Dense(units, activation="relu")] if units else []
    dropout = [layers.Dropout(rate)] if rate else []
    return keras.Sequential(
        [keras.Input((28, 28, 1)), layers.Rescaling(1 / 255), layers.Flatten(), *hidden, *dropout, layers.Dense(10)]
    )


def convolutional_network(augment=False):
    """Return the small CNN; with `augment`, each training image is shifted by up to 4 pixels both ways."""
    shift = [layers.RandomTranslation(4 / 28, 4 / 28, fill_mode="constant")] if augment else []
    return keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / 255), *shift,
        layers.Conv2D(8, 5, strides=2, activation="relu"), layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(), layers.Flatten(), layers.Dense(10),
    ])


class Study:
    """One compiled model for many runs: compiling anew would take longer than training."""

    def __init__(self, model, optimizer, penalty=0.0):
        self.model = model
        blank = keras.models.clone_model(model)  # without a loss, which could not be copied
        self.make = lambda: keras.models.clone_model(blank).get_weights()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        penalised = loss
        if penalty:
            kernels = [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]
            penalised = lambda y, z: loss(y, z) + sum(penalty / 2 * tf.reduce_sum(w**2) for w in kernels)
        model.compile(optimizer, penalised, steps_per_execution=10)
        optimizer.build(model.trainable_variables)
        self.start = [variable.numpy() for variable in optimizer.variables]
        self.predict = tf.function(lambda images: model(images, training=False))

    def logits(self, images):
        """Return the logits of images, a thousand at a time."""
        return np.concatenate([self.predict(images[i:i + 1000]).numpy() for i in range(0, len(images), 1000)])

    def train(self, seed, images, labels, epochs, after=lambda epoch, logs: None):
        """Train from the first weights of this seed; return the processor seconds, without those of `after`."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(self.make())
        for variable, value in zip(self.model.optimizer.variables, self.start):
            variable.assign(value)
        outside = [0.0]

        def at_the_end(epoch, logs):
            begun = time.process_time()
            after(epoch, logs)
            outside[0] += time.process_time() - begun

        begun = time.process_time()
        callback = keras.callbacks.LambdaCallback(on_epoch_end=at_the_end)
        self.model.fit(images, labels, batch_size=BATCH_SIZE, epochs=epochs, verbose=0, callbacks=[callback])
        return time.process_time() - begun - outside[0]


def measure(logits, labels):
    """Return mean cross-entropy and accuracy of these logits."""
    log_p = special.log_softmax(logits.astype(np.float64), axis=1)
    return -log_p[np.arange(len(labels)), labels].mean(), np.mean(logits.argmax(1) == labels)


def load_data():
    """Return MNIST with a channel axis."""
    (x_train, y_train), (x_test, y_test) = load_mnist()
    return (x_train[..., None], y_train.astype(int)), (x_test[..., None], y_test.astype(int))


def read_rows(path):
    """Return the rows of a table, as text, or none where there is no table yet."""
    return list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []


def append_rows(path, rows):
    """Add rows to a table, with the heading in front of the first."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def peeking(runs=128, epochs=30):
    """Count right answers on 100 pieces of 100 images after every epoch; counts of shape (runs, epochs, 100)."""
    path = FOLDER / "generalisation_peeking.npz"
    (x, y), _ = load_data()
    pool = 10_000 + np.random.default_rng(0).permutation(10_000)  # pieces that do not follow the writers
    network = dense_network(64, 0.5)
    study = Study(network, keras.optimizers.Adam(2e-3))
    counts = list(np.load(path)["counts"]) if path.exists() else []
    for seed in range(len(counts), runs):
        run = []

        def count(epoch, logs):
            right = study.logits(x[pool]).argmax(1) == y[pool]
            run.append(right.reshape(100, 100).sum(axis=1).astype(np.uint8))

        study.train(seed, x[:1000], y[:1000], epochs, count)
        counts.append(np.array(run))
        write_arrays(path, counts=np.array(counts))
        print("peeking", seed, run[-1].mean(), flush=True)


def regularisers(seeds=5, epochs=30):
    """Train 128 hidden units over the grid; curves are measured at the end of each epoch, without dropout."""
    path = FOLDER / "generalisation_regularisers.json"
    header = {
        "about": "dense network with 128 hidden units; dropout, weight decay and training images of MNIST vary",
        "epochs": epochs, "batch_size": BATCH_SIZE, "optimizer": "AdamW, learning rate 0.001", "versions": VERSIONS,
    }
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {**header, "runs": []}
    kept = record.pop("runs")
    if record != header:
        raise SystemExit(f"{path} was recorded with other settings or versions: move it away to record anew.")
    done = {(r["penalty"], r["dropout"], r["weight_decay"], r["images"], r["seed"]) for r in kept}
    data = load_data()
    grid = [("decoupled", q, decay) for q in (0.0, 0.25, 0.5, 0.75) for decay in (0.0, 1.0, 5.0)]
    grid += [("L2", 0.0, decay) for decay in (1e-3, 1e-2)]
    for penalty, rate, decay in grid:
        decoupled = penalty == "decoupled"
        study = Study(
            dense_network(128, rate),
            keras.optimizers.AdamW(1e-3, weight_decay=decay if decoupled else 0.0),
            0.0 if decoupled else decay,
        )
        for images in (250, 1000, 4000):
            for seed in range(seeds):
                settings = {"penalty": penalty, "dropout": rate, "weight_decay": decay, "images": images, "seed": seed}
                if tuple(settings.values()) not in done:
                    kept.append({**settings, **regularised(study, seed, images, epochs, data)})
                    with replacing(path) as beside:
                        beside.write_text(as_json(header, kept), encoding="utf-8")
        print("regularisers", penalty, rate, decay, kept[-1]["test_accuracy"], flush=True)


def regularised(study, seed, images, epochs, data):
    """Return the curves of one run, its test accuracy at the end and at the epoch of the least validation loss."""
    (x, y), test = data
    curves = {name: [] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    best = []

    def record(epoch, logs):
        for prefix, place in (("", slice(0, min(images, 2000))), ("val_", slice(-2000, None))):
            loss, accuracy = measure(study.logits(x[place]), y[place])
            curves[prefix + "loss"].append(short(loss))
            curves[prefix + "accuracy"].append(short(accuracy))
        if curves["val_loss"][-1] == min(curves["val_loss"]):
            best[:] = study.model.get_weights()

    seconds = study.train(seed, x[:images], y[:images], epochs, record)
    loss, accuracy = measure(study.logits(test[0]), test[1])
    norm = np.sqrt(sum(np.sum(w**2) for w in study.model.get_weights() if w.ndim == 2))
    study.model.set_weights(best)
    early_loss, early = measure(study.logits(test[0]), test[1])
    return {
        **curves, "test_loss": short(loss), "test_accuracy": short(accuracy), "early_test_loss": short(early_loss),
        "early_test_accuracy": short(early), "norm": short(norm), "cpu_seconds": round(seconds, 2),
    }


def as_json(header, runs):
    """Return the record as text, one run a line."""
    start = json.dumps(header, ensure_ascii=False, indent=1).removesuffix("\n}")
    return f'{start},\n "runs": [\n' + ",\n".join(json.dumps(r, separators=(",", ":")) for r in runs) + "\n]}\n"


def capacity(seeds=5, epochs=12):
    """Train networks of many widths; few images are repeated, so that an epoch is 4,000 images, 80 steps, for all."""
    path = FOLDER / "generalisation_capacity.csv"
    done = {(row["units"], row["images"], row["seed"]) for row in read_rows(path)}
    (x, y), test = load_data()
    for units in (1, 2, 4, 8, 16, 32, 128, 512):
        study = Study(dense_network(units), keras.optimizers.Adam(2e-3))
        for images in (250, 1000, 4000):
            for seed in range(seeds):
                if (str(units), str(images), str(seed)) in done:
                    continue
                many = np.tile(np.arange(images), 4000 // images)
                seconds = study.train(seed, x[many], y[many], epochs)
                row = {"units": units, "images": images, "seed": seed, "parameters": study.model.count_params()}
                for name, (some, labels) in {"train": (x[:images], y[:images]), "test": test}.items():
                    row[f"{name}_loss"], row[f"{name}_accuracy"] = map(short, measure(study.logits(some), labels))
                append_rows(path, [{**row, "cpu_seconds": round(seconds, 2)}])
        print("capacity", units, row["test_accuracy"], flush=True)


def seeds(seeds=20, images=5000, epochs=10):
    """Record which test images two networks answer rightly, as bits: arrays of shape (seeds, 1250), uint8."""
    path = FOLDER / "generalisation_seeds.npz"
    (x, y), (x_test, y_test) = load_data()
    kept = {name: list(bits) for name, bits in np.load(path).items()} if path.exists() else {"plain": [], "dropout": []}
    for name, rate in (("plain", 0.0), ("dropout", 0.5)):
        study = Study(dense_network(128, rate), keras.optimizers.Adam(1e-3))
        for seed in range(len(kept[name]), seeds):
            study.train(seed, x[:images], y[:images], epochs)
            right = study.logits(x_test).argmax(1) == y_test
            kept[name].append(np.packbits(right))
            write_arrays(path, **{key: np.array(value, np.uint8).reshape(-1, 1250) for key, value in kept.items()})
            print("seeds", name, seed, right.mean(), flush=True)


STRENGTHS = {
    "translation": (0, 1, 2, 3, 4, 6),
    "rotation": (0, 10, 20, 30, 45, 60, 90),
    "noise": (0, 0.1, 0.2, 0.3, 0.5, 0.8),
    "blur": (0, 0.5, 1, 1.5, 2, 3),
}


def disturb(images, kind, strength, seed=0):
    """Return uint8 images of shape (N, 28, 28, 1) shifted, turned, made noisy or blurred.

    translation: pixels, in one of eight directions drawn for each image; rotation: degrees, to either side;
    noise: standard deviation, white being 1; blur: standard deviation of a Gaussian, in pixels.
    """
    random = np.random.default_rng(seed)
    grey = images[..., 0].astype(np.float32)
    if strength == 0:
        return images
    if kind == "translation":
        steps = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j])
        padded = np.pad(grey, ((0, 0), (8, 8), (8, 8)))
        moves = 8 - strength * steps[random.integers(8, size=len(grey))]
        grey = np.stack([image[i:i + 28, j:j + 28] for image, (i, j) in zip(padded, moves)])
    elif kind == "rotation":
        sides = random.random(len(grey)) < 0.5
        for side, sign in ((sides, 1), (~sides, -1)):
            grey[side] = ndimage.rotate(grey[side], sign * strength, axes=(1, 2), reshape=False, order=1)
    elif kind == "noise":
        grey = grey + 255 * strength * random.standard_normal(grey.shape, np.float32)
    else:
        grey = ndimage.gaussian_filter(grey, (0, strength, strength))
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)[..., None]


def temperature(logits, labels):
    """Return the temperature that makes the cross-entropy of these labels least."""
    found = optimize.minimize_scalar(lambda u: measure(np.exp(u) * logits, labels)[0], bounds=(-4, 3), method="bounded")
    return float(np.exp(-found.x))


def calibration_error(logits, labels, bins=15):
    """Return the expected calibration error, in bins of equal width."""
    p = special.softmax(logits.astype(np.float64), axis=1)
    confidence, right = p.max(1), p.argmax(1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return np.abs(np.bincount(place, right - confidence, bins)).sum() / len(labels)


def shift(seeds=5, images=10_000):
    """Train on clean digits, choose a temperature on clean validation images, examine on every other test image."""
    path = FOLDER / "generalisation_shift.csv"
    done = {(row["model"], row["seed"]) for row in read_rows(path)}
    (x, y), (x_test, y_test) = load_data()
    x_test, y_test = x_test[::2], y_test[::2]
    disturbed = {(kind, s): disturb(x_test, kind, s) for kind, row in STRENGTHS.items() for s in row}
    recipes = {
        "linear": (dense_network(0), 10), "dense": (dense_network(256), 10), "CNN": (convolutional_network(), 6),
        "CNN, shifted": (convolutional_network(augment=True), 12),
    }
    for name, (network, epochs) in recipes.items():
        study = Study(network, keras.optimizers.Adam(1e-3))
        for seed in range(seeds):
            if (name, str(seed)) in done:
                continue
            seconds = study.train(seed, x[:images], y[:images], epochs)
            t = temperature(study.logits(x[-5000:]), y[-5000:])
            rows = []
            for (kind, strength), some in disturbed.items():
                logits = study.logits(some)
                row = {"model": name, "seed": seed, "kind": kind, "strength": strength, "temperature": short(t)}
                row |= {"accuracy": short(measure(logits, y_test)[1])}
                for suffix, scaled in (("", logits), ("_scaled", logits / t)):
                    row["confidence" + suffix] = short(special.softmax(scaled, axis=1).max(1).mean())
                    row["loss" + suffix] = short(measure(scaled, y_test)[0])
                    row["calibration_error" + suffix] = short(calibration_error(scaled, y_test))
                rows.append({**row, "cpu_seconds": round(seconds, 2)})
            append_rows(path, rows)
            print("shift", name, seed, rows[0]["accuracy"], round(t, 2), flush=True)


def writers(size=10_000, folds=5):
    """Cross-validate a nearest neighbour on six parts of the training set, with two ways to cut the folds."""
    path = FOLDER / "generalisation_writers.csv"
    done = {row["start"] for row in read_rows(path)}
    (x, y), _ = load_data()
    x = x.reshape(-1, 784).astype(np.float32) / 255
    for start in range(0, len(x), size):
        if str(start) in done:
            continue
        orders = {"random": np.random.default_rng(start).permutation(size), "stretches": np.arange(size)}
        row = {"start": start}
        for name, order in orders.items():
            right = [nearest(x[start + rest], y[start + rest], x[start + held]) == y[start + held]
                     for held, rest in split(order, folds)]
            row[name] = short(np.mean(right))
        append_rows(path, [row])
        print("writers", row, flush=True)


def split(order, folds):
    """Return (held out, rest) for each fold."""
    parts = np.split(order, folds)
    return [(parts[i], np.concatenate(parts[:i] + parts[i + 1:])) for i in range(folds)]


def nearest(known, labels, asked):
    """Return the label of the nearest known image for each image asked about."""
    return labels[(2 * asked @ known.T - np.sum(known**2, axis=1)).argmax(axis=1)]


STUDIES = {"peeking": peeking, "regularisers": regularisers, "capacity": capacity, "seeds": seeds, "shift": shift, "writers": writers}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    STUDIES[parser.parse_args().study]()


if __name__ == "__main__":
    main()
