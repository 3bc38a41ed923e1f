"""Same digit or not? Distances between two images, by four kinds of features: experiments/image_recognition_pairs.csv.

    python experiments/image_recognition_pairs.py             all runs; about 2 minutes on one thread
    python experiments/image_recognition_pairs.py --seeds 7   further seeds, added to those recorded

A network learns the digits 0 to 6 and no others, from 10,000 of MNIST's first 50,000 training images; its layer of 32
numbers before the last is the learned feature space. A threshold on the distance is chosen on 4,000 validation pairs of
the digits 0 to 6, half of them of one class, so that the two kinds of error are as equal as they can be. Then it is
used on 4,000 test pairs of the digits 0 to 6, and on 4,000 test pairs of 7, 8 and 9, which the network has never seen.
Keras 3.15, TensorFlow 2.21, scikit-image 0.26. A run that is in the record is not run again.
"""
import argparse
import csv
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers
from skimage.feature import hog

from imagebook import load_mnist
from imagebook.records import replacing

RECORD = Path(__file__).with_suffix(".csv")
FIELDS = [
    "features", "seed", "threshold", "seen_false_accept", "seen_false_reject", "unseen_false_accept",
    "unseen_false_reject", "seen_equal_error", "unseen_equal_error", "cpu_seconds",
]
PAIRS = 4000


def make_model():
    """Return the untrained network: images of shape (28, 28, 1), uint8, to seven probabilities."""
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(16, 5, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(32),
        layers.Dense(7, activation="softmax"),
    ])


def make_pairs(labels, classes, seed):
    """Return the numbers of two images each, and whether they are of one class; every second pair is."""
    rng = np.random.default_rng(seed)
    members = {k: np.flatnonzero(labels == k) for k in classes}
    pairs = []
    for index in range(PAIRS):
        if index % 2:
            pairs.append(rng.choice(members[rng.choice(classes)], 2, replace=False))
        else:
            one, other = rng.choice(classes, 2, replace=False)
            pairs.append([rng.choice(members[one]), rng.choice(members[other])])
    return np.array(pairs), np.arange(PAIRS) % 2 == 1


def distances(features, pairs):
    """Return the distance of each pair, after scaling every feature vector to length one."""
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    return np.linalg.norm(features[pairs[:, 0]] - features[pairs[:, 1]], axis=1)


def errors(distance, same, threshold):
    """Return the shares of pairs wrongly accepted as one class and wrongly rejected."""
    return np.mean(distance[~same] < threshold), np.mean(distance[same] >= threshold)


def equal_threshold(distance, same):
    """Return the threshold at which the two errors are most nearly equal."""
    candidates = np.quantile(distance, np.linspace(0, 1, 1001))
    return min(candidates, key=lambda t: abs(np.subtract(*errors(distance, same, t))))


def outcomes(make_features, seed):
    """Return what the record holds of one kind of features."""
    (x_train, y_train), (x_test, y_test) = load_mnist()
    x_validation, y_validation = x_train[50_000::5], y_train[50_000::5]
    seen, unseen = range(7), range(7, 10)
    pairs, same = make_pairs(y_validation, seen, [seed, 0])
    threshold = equal_threshold(distances(make_features(x_validation), pairs), same)
    found, features = {"threshold": threshold}, make_features(x_test)
    for name, classes in (("seen", seen), ("unseen", unseen)):
        pairs, same = make_pairs(y_test, classes, [seed, 1])
        distance = distances(features, pairs)
        found[f"{name}_false_accept"], found[f"{name}_false_reject"] = errors(distance, same, threshold)
        equal = errors(distance, same, equal_threshold(distance, same))
        found[f"{name}_equal_error"] = np.mean(equal)
    return {name: round(float(value), 4) for name, value in found.items()}


def embedding(seed, trained):
    """Return the function that maps images to the network's layer of 32 numbers."""
    (x_train, y_train), _ = load_mnist()
    rng = np.random.default_rng([seed, 2])
    drawn = rng.choice(np.flatnonzero(y_train[:50_000] < 7), 10_000, replace=False)
    keras.utils.set_random_seed(seed)
    model = make_model()
    if trained:
        model.compile("adam", "sparse_categorical_crossentropy", steps_per_execution=50)
        model.fit(x_train[drawn][..., None], y_train[drawn], batch_size=64, epochs=8, verbose=0)
    before_last = keras.Model(model.inputs, model.layers[-2].output)
    return lambda images: before_last.predict(images[..., None], batch_size=500, verbose=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 (default: %(default)s)")
    seeds = parser.parse_args().seeds
    runs = []
    if RECORD.exists():
        with RECORD.open(newline="", encoding="utf-8") as file:
            runs = list(csv.DictReader(file))
    done = {(run["features"], int(run["seed"])) for run in runs}
    kinds = {
        "pixels": lambda seed: lambda images: images.reshape(-1, 784) / 255,
        "HOG": lambda seed: lambda images: np.array([hog(image, 9, (4, 4), (2, 2)) for image in images]),
        "untrained": lambda seed: embedding(seed, False),
        "learned": lambda seed: embedding(seed, True),
    }
    for kind, seed in ((kind, seed) for seed in range(seeds) for kind in kinds if (kind, seed) not in done):
        started = time.process_time()
        found = outcomes(kinds[kind](seed), seed)
        runs.append({"features": kind, "seed": seed, **found, "cpu_seconds": round(time.process_time() - started, 1)})
        with replacing(RECORD) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(runs)
        print(runs[-1], flush=True)


if __name__ == "__main__":
    main()
