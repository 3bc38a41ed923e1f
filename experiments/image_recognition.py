"""Read digits by pixels, by hand-made and by learned features: experiments/image_recognition.json.

    python experiments/image_recognition.py             all runs; about 15 minutes on one thread
    python experiments/image_recognition.py --seeds 7   further seeds, added to those recorded

A run is one way of making features, one number of training images, one seed. The seed draws the training images from
the first 50,000 of MNIST's training set, the same for every method; every fifth of the other 10,000 validates, and
chooses the strength of the linear classifier's penalty. The test set is looked at once a run, after all choices; where the record holds
several shifts, once for each. In a scrambled run all images, training and test, went through one fixed permutation of
their pixels. A run that is already in the record is not run again. Set OMP_NUM_THREADS=1, OPENBLAS_NUM_THREADS=1 and
TF_NUM_INTRAOP_THREADS=1 for times that compare.
"""
import argparse
import platform
import time
from functools import cache
from pathlib import Path

import keras
import numpy as np
import skimage
import sklearn
import tensorflow as tf
from keras import layers
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression

from imagebook import load_mnist
from imagebook.records import read_runs, write_runs

RECORD = Path(__file__).with_suffix(".json")
SIZES = [100, 300, 1000, 3000, 10000]
PENALTIES = [0.01, 0.1, 1.0, 10.0]  # scikit-learn's C: the smaller, the stronger the penalty
SHIFTS = [0, 1, 2, 3, 4, 5, 6]
SHIFT_SIZES = [1000, 10000]
STEPS, BATCH_SIZE = 1500, 64
LINEAR = ["pixels", "HOG", "random kernels"]
NETWORKS = ["CNN", "CNN, shifted copies"]
HEADER = {
    "about": "digits by pixels, gradient histograms or a CNN; 10,000 test images, shifted to the right by `shifts` pixels",
    "hog": "scikit-image, 9 orientations, cells of 4×4 pixels, blocks of 2×2 cells, L2-Hys",
    "linear": "scikit-learn's LogisticRegression, C chosen among `penalties` on 2,000 validation images",
    "model": "conv 5×5, 16 maps, ReLU; max pooling; conv 3×3, 32 maps, ReLU; max pooling; dense 10, softmax",
    "training": "1,500 batches of 64, Adam, learning rate 0.002 falling to 0 along a cosine",
    "penalties": PENALTIES,
    "shifts": SHIFTS,
    "versions": {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "scikit-image": skimage.__version__,
    },
}


def make_model():
    """Return the untrained network: images of shape (28, 28, 1), uint8, to ten probabilities."""
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(16, 5, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ])


@cache
def data():
    """Return (images, labels) to draw training images from, for validation and for test; images (n, 28, 28), uint8."""
    (x_train, y_train), (x_test, y_test) = load_mnist()
    return (x_train[:50_000], y_train[:50_000]), (x_train[50_000::5], y_train[50_000::5]), (x_test, y_test)


def scramble(images):
    """Return the images with their 784 pixels in one fixed other order."""
    order = np.random.default_rng(784).permutation(784)
    return images.reshape(-1, 784)[:, order].reshape(images.shape)


def shift(images, pixels):
    """Return the images moved to the right; what leaves is lost, what enters is background."""
    moved = np.zeros_like(images)
    moved[..., pixels:] = images[..., : images.shape[-1] - pixels]
    return moved


def draw(size, seed):
    """Return the numbers of the training images of a run."""
    return np.random.default_rng([seed, size]).choice(50_000, size, replace=False)


@cache
def random_network():
    """Return the convolutions of the network as they are drawn, untrained."""
    keras.utils.set_random_seed(0)
    model = make_model()
    return keras.Model(model.inputs, model.layers[-2].output)


def features(method, images):
    """Return what the linear classifier of this method sees, shape (n, d), float32."""
    if method == "pixels":
        return images.reshape(-1, 784).astype("float32") / 255
    if method == "HOG":
        return np.float32([hog(image, 9, (4, 4), (2, 2)) for image in images])
    return random_network().predict(images[..., None], batch_size=500, verbose=0)


@cache
def test_features(method, pixels, scrambled):
    images = shift(data()[2][0], pixels)
    return features(method, scramble(images) if scrambled else images)


@cache
def validation_features(method, scrambled):
    images = data()[1][0]
    return features(method, scramble(images) if scrambled else images)


def run_linear(method, size, seed, scrambled):
    """Make the features, choose the penalty, fit and test a linear classifier; return what the record holds of it."""
    (x_pool, y_pool), (_, y_validation), (_, y_test) = data()
    drawn = draw(size, seed)
    images = scramble(x_pool[drawn]) if scrambled else x_pool[drawn]
    started = time.process_time()
    x = features(method, images)
    feature_seconds = time.process_time() - started
    best = None
    for penalty in PENALTIES:
        started = time.process_time()
        model = LogisticRegression(C=penalty, max_iter=1000).fit(x, y_pool[drawn])
        seconds = time.process_time() - started
        accuracy = model.score(validation_features(method, scrambled), y_validation)
        if best is None or accuracy > best[0]:
            best = accuracy, penalty, seconds, model
    accuracy, penalty, seconds, model = best
    shifts = SHIFTS if size in SHIFT_SIZES and not scrambled else [0]
    test = [model.score(test_features(method, pixels, scrambled), y_test) for pixels in shifts]
    return {
        "penalty": penalty, "validation_accuracy": round(accuracy, 4), "test_accuracy": [round(a, 4) for a in test],
        "feature_seconds": round(feature_seconds, 2), "fit_seconds": round(seconds, 2), "numbers": x.shape[1],
        "parameters": model.coef_.size + model.intercept_.size,
    }


class Study:
    """One compiled network for all runs: compiling anew would take longer than training."""

    def __init__(self):
        schedule = keras.optimizers.schedules.CosineDecay(2e-3, STEPS)
        self.model = make_model()
        self.model.compile(
            keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"],
            steps_per_execution=50,
        )
        self.model.optimizer.build(self.model.trainable_variables)
        self.start = [variable.numpy() for variable in self.model.optimizer.variables]
        images, labels = data()[0]
        self.fit(images[:6400], labels[:6400])  # the first call compiles: its time belongs to no run
        self.score(data()[1])

    def fit(self, images, labels):
        self.model.fit(images[..., None], labels, batch_size=BATCH_SIZE, shuffle=False, verbose=0)

    def score(self, pair):
        return self.model.evaluate(pair[0][..., None], pair[1], batch_size=500, verbose=0)[1]

    def run(self, method, size, seed, scrambled):
        """Train from the first weights of this seed; return what the record holds of it."""
        pool, validation, test = data()
        order = scramble if scrambled else np.asarray
        rng = np.random.default_rng([seed, size, 1])
        drawn = draw(size, seed)
        epochs = -(-STEPS * BATCH_SIZE // size)
        stream = np.concatenate([rng.permutation(drawn) for _ in range(epochs)])[: STEPS * BATCH_SIZE]
        images, labels = order(pool[0][stream]), pool[1][stream]
        if method == "CNN, shifted copies":
            moves = rng.integers(-4, 5, (len(images), 2))
            images = np.stack([np.roll(image, move, (0, 1)) for image, move in zip(images, moves)])
        keras.utils.set_random_seed(seed)
        self.model.set_weights(make_model().get_weights())
        for variable, value in zip(self.model.optimizer.variables, self.start):
            variable.assign(value)
        started = time.process_time()
        self.fit(images, labels)
        seconds = time.process_time() - started
        shifts = SHIFTS if size in SHIFT_SIZES and not scrambled else [0]
        scores = [self.score((order(shift(test[0], pixels)), test[1])) for pixels in shifts]
        return {
            "penalty": None, "validation_accuracy": round(self.score((order(validation[0]), validation[1])), 4),
            "test_accuracy": [round(a, 4) for a in scores], "feature_seconds": 0.0, "fit_seconds": round(seconds, 2),
            "numbers": self.model.layers[-1].input.shape[-1], "parameters": self.model.count_params(),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 (default: %(default)s)")
    seeds = parser.parse_args().seeds
    runs = read_runs(RECORD, HEADER)
    done = {(run["method"], run["images"], run["seed"], run["scrambled"]) for run in runs}
    jobs = [
        (method, size, seed, scrambled)
        for seed in range(seeds)
        for scrambled in (False, True)
        for size in SIZES
        for method in LINEAR + NETWORKS
        if not (method == "CNN, shifted copies" and (scrambled or size not in SHIFT_SIZES))
    ]
    jobs = [job for job in jobs if job not in done]
    study = Study() if any(job[0] in NETWORKS for job in jobs) else None
    for job in jobs:
        outcome = study.run(*job) if job[0] in NETWORKS else run_linear(*job)
        runs.append({**dict(zip(("method", "images", "seed", "scrambled"), job)), **outcome})
        write_runs(RECORD, HEADER, runs)
        print(*job, *outcome.values(), sep="  ", flush=True)


if __name__ == "__main__":
    main()
