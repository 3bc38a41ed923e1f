"""Learning curves of eight methods on MNIST, and four methods on two tables, recorded in experiments/relations.json.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \\
        python experiments/relations.py

Training subsets of 10 to 10,000 images are drawn from the first 55,000 training images, as many of each digit, nested
for each seed. Settings are chosen at each of these sizes on the last 5,000 training images, with a draw of their own
that is not among those measured; for networks once, at 1,000, since they are dear. At 60,000 all training images are
used, with the settings chosen at 10,000, so that nothing is chosen on an image that is trained on. The test set is looked at once a run, after training. A run that is
in the record is not run again. All runs take about 15 minutes of one core.
"""
import pickle
import platform
import time
from pathlib import Path

import keras
import numpy as np
import sklearn
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RepeatedStratifiedKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from imagebook import load_mnist
from imagebook.records import read_runs, write_runs

RECORD = Path(__file__).with_suffix(".json")
SIZES = [10, 30, 100, 300, 1000, 3000, 10000, 60000]
CHOICE = 100  # the seed of the draw by which settings are chosen
BATCH_SIZE = 64
# Images shown to a network in all: at least 200 batches, and fewer and fewer passes.
SHOWN = {10: 12_800, 30: 12_800, 100: 19_200, 300: 19_200, 1000: 32_000, 3000: 60_000, 10000: 100_000, 60000: 360_000}
GRID = {
    "k-nearest neighbours": [1, 3, 5],
    "logistic regression": [0.01, 0.1, 1.0],
    "support vector machine": [0.3, 1.0, 3.0, 6.0],
    "gradients, support vector machine": [0.3, 1.0, 3.0, 6.0],
    "CNN": [0.001, 0.003],
    "dense network": [0.001, 0.003],
    "CNN, scrambled pixels": [0.001, 0.003],
    "random forest": ["sqrt", 0.1],
}
NETWORKS = ["CNN", "dense network", "CNN, scrambled pixels"]
HEADER = {
    "about": "eight methods on growing subsets of MNIST; 10,000 test images; four methods on two tables",
    "settings": {
        "k-nearest neighbours": "number of neighbours",
        "logistic regression": "C of scikit-learn, pixels from 0 to 1",
        "support vector machine": "gamma times the mean squared distance of two images; 100 principal components, C = 10",
        "random forest": "share of the features tried at a split; 100 trees",
        "gradients, support vector machine": "as above, on 392 sums of oriented gradients",
        "dense network": "Adam, first learning rate, falling linearly to 0; 784-128-64-10, ReLU",
        "CNN": "the same; 5×5 stride 2 (16 maps), 3×3 (32), max pooling 2×2, 3×3 (48), dense 64, dense 10, ReLU",
        "CNN, scrambled pixels": "the same, all images with one and the same permutation of their pixels",
    },
    "shown": {str(size): shown for size, shown in SHOWN.items()},
    "batch_size": BATCH_SIZE,
    "versions": {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    },
}


def seeds_of(size):
    """Return the seeds of a size: five, three where a run is dear."""
    return range(5) if size <= 3000 else range(3)


def draw(labels, size, seed):
    """Return `size` indices, size / 10 of each digit among the first 55,000; the smaller draws are within the larger."""
    if size == len(labels):
        return np.arange(size)
    order = np.random.default_rng(seed).permutation(55_000)
    return np.sort(np.concatenate([order[labels[order] == digit][: size // 10] for digit in range(10)]))


def gradient_sums(images):
    """Return 392 numbers an image: gradient strength in 8 directions over 7 × 7 cells of 4 × 4 pixels.

    Each cell is divided by the strength in its 3 × 3 neighbourhood of cells (after Dalal and Triggs, 2005).
    """
    pixels = np.pad(images.astype("float32") / 255, ((0, 0), (1, 1), (1, 1)))
    across = pixels[:, 1:-1, 2:] - pixels[:, 1:-1, :-2]
    down = pixels[:, 2:, 1:-1] - pixels[:, :-2, 1:-1]
    strength, turn = np.hypot(across, down), (np.arctan2(down, across) / (2 * np.pi) % 1) * 8
    first = np.floor(turn).astype(int) % 8
    cells = np.empty((len(images), 7, 7, 8), "float32")
    for direction in range(8):
        part = np.where(first == direction, 1 - turn % 1, np.where((first + 1) % 8 == direction, turn % 1, 0))
        cells[..., direction] = (strength * part).reshape(-1, 7, 4, 7, 4).sum(axis=(2, 4))
    squares = np.pad((cells**2).sum(axis=-1), ((0, 0), (1, 1), (1, 1)))
    around = sum(squares[:, i : i + 7, j : j + 7] for i in range(3) for j in range(3))
    return (cells / np.sqrt(around + 0.1)[..., None]).reshape(len(images), -1)


def support_vectors(features, setting):
    """Return an untrained pipeline: 100 principal components, then an SVM whose gamma fits the spread of `features`."""
    gamma = setting / (2 * features.var(axis=0).sum())  # 2 × total variance is the mean squared distance of two images
    return make_pipeline(PCA(min(100, len(features)), random_state=0), SVC(C=10, gamma=gamma))


def classical(name, setting, features, seed):
    """Return the untrained scikit-learn model of a method."""
    if name == "k-nearest neighbours":
        return KNeighborsClassifier(setting, algorithm="brute")
    if name == "logistic regression":
        return LogisticRegression(C=setting, max_iter=300)
    if name == "random forest":
        return RandomForestClassifier(100, max_features=setting, random_state=seed)
    return support_vectors(features, setting)


def make_network(name):
    """Return the untrained network: images of shape (28, 28, 1), uint8, to ten probabilities."""
    if name == "dense network":
        body = [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(64, activation="relu")]
    else:
        body = [
            layers.Conv2D(16, 5, strides=2, activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(48, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
        ]
    return keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / 255), *body, layers.Dense(10, activation="softmax")
    ])


class FallingRate(keras.callbacks.Callback):
    """Let the learning rate fall linearly, from `first` before the first batch to zero after the last."""

    def __init__(self, first, batches):
        super().__init__()
        self.first, self.batches = first, batches

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = self.first * (1 - batch / self.batches)


class Network:
    """One compiled model for all runs of a network: compiling anew would take longer than training."""

    def __init__(self, name):
        self.name, self.model = name, make_network(name)
        self.model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy")
        self.model.optimizer.build(self.model.trainable_variables)
        self.start = [variable.numpy() for variable in self.model.optimizer.variables]

    def fit(self, images, labels, rate, seed, shown):
        """Train from the first weights of this seed on `shown` images, pass after pass, each in a new order."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(make_network(self.name).get_weights())
        for variable, value in zip(self.model.optimizer.variables, self.start):
            variable.assign(value)
        passes = -(-shown // len(images))
        random = np.random.default_rng(seed)
        order = np.concatenate([random.permutation(len(images)) for _ in range(passes)])[:shown]
        falling = FallingRate(rate, shown // BATCH_SIZE)
        self.model.fit(images[order], labels[order], batch_size=BATCH_SIZE, shuffle=False, verbose=0, callbacks=[falling])
        return self

    def predict(self, images):
        return self.model.predict(images, batch_size=1000, verbose=0).argmax(axis=1)


def measure(name, network, data, size, seed, setting, known, asked):
    """Train on the draw of this size and seed and return accuracy on `asked` images, times and the size of the model.

    known, asked: which of the arrays in `data` to train on and to ask, names of (inputs, labels).
    """
    inputs, labels = data[known]
    chosen = draw(labels, size, seed)
    features, truth = inputs[chosen], labels[chosen]
    started = time.process_time()
    if network:
        model = network.fit(features, truth, setting, seed, SHOWN[size])
    else:
        model = classical(name, setting, features, seed).fit(features, truth)
    fitted = time.process_time()
    answers = model.predict(data[asked][0])
    done = time.process_time()
    if network:
        numbers = 4 * model.model.count_params()
    else:
        numbers = len(pickle.dumps(model))
    return {
        "accuracy": round(float(np.mean(answers == data[asked][1])), 5),
        "fit_seconds": round(fitted - started, 4),
        "ask_milliseconds": round(1000 * (done - fitted) / len(answers), 5),
        "bytes": numbers,
    }


def inputs_of(name, images):
    """Return images as the method wants them."""
    if name.startswith("gradients"):
        return np.concatenate([gradient_sums(part) for part in np.array_split(images, 10)])
    if name == "CNN, scrambled pixels":
        shuffled = np.random.default_rng(0).permutation(784)
        return images.reshape(-1, 784)[:, shuffled].reshape(-1, 28, 28, 1)
    if name in ("CNN", "dense network"):
        return images[..., None]
    return images.reshape(-1, 784).astype("float32") / 255


def tables():
    """Return the classifiers for tables and their grids, and the two tables of scikit-learn."""
    methods = {
        "logistic regression": (LogisticRegression(max_iter=5000), {"C": [0.01, 0.1, 1, 10]}),
        "random forest": (RandomForestClassifier(100, random_state=0), {"max_features": ["sqrt", 0.5]}),
        "gradient boosting": (HistGradientBoostingClassifier(max_iter=50, random_state=0), {"learning_rate": [0.1, 0.3]}),
        "dense network": (
            MLPClassifier((32, 16), solver="lbfgs", max_iter=200, random_state=0),
            {"alpha": [0.01, 0.3, 10]},
        ),
    }
    return methods, {"breast cancer": load_breast_cancer(return_X_y=True), "wine": load_wine(return_X_y=True)}


def nested(model, grid, features, labels):
    """Return accuracies in 5 × 5 outer folds; in each the setting is chosen by 3 inner folds."""
    grid = {f"{type(model).__name__.lower()}__{key}": values for key, values in grid.items()}
    scores, seconds = [], 0
    for train, test in RepeatedStratifiedKFold(n_splits=5, n_repeats=5, random_state=0).split(features, labels):
        search = GridSearchCV(make_pipeline(StandardScaler(), model), grid, cv=StratifiedKFold(3, shuffle=True, random_state=0))
        started = time.process_time()
        search.fit(features[train], labels[train])
        seconds += time.process_time() - started
        scores.append(round(float(search.score(features[test], labels[test])), 5))
    return {"accuracies": scores, "fit_seconds": round(seconds, 2)}


def main():
    runs = read_runs(RECORD, HEADER)

    def keep(**run):
        runs.append(run)
        write_runs(RECORD, HEADER, runs)
        print(*list(run.values())[:6], sep="  ", flush=True)

    def find(**wanted):
        return [run for run in runs if all(run.get(key) == value for key, value in wanted.items())]

    methods, data = tables()
    for table, (features, labels) in data.items():
        for name, (model, grid) in methods.items():
            if not find(kind="table", table=table, method=name):
                keep(kind="table", table=table, method=name, **nested(model, grid, features, labels))
    (x_train, y_train), (x_test, y_test) = load_mnist()
    for name in GRID:
        inputs = inputs_of(name, x_train)
        data = {"train": (inputs, y_train), "validation": (inputs[55_000:], y_train[55_000:]), "test": (inputs_of(name, x_test), y_test)}
        network = Network(name) if name in NETWORKS else None
        if network:  # the first call of each kind compiles: its time belongs to no run
            network.fit(inputs[:64], y_train[:64], 0.001, 0, 640).predict(inputs[:2000])
        for size in SIZES:
            choosing = 1000 if network else min(size, 10_000)
            for setting in GRID[name]:
                if not find(kind="choice", method=name, size=choosing, setting=setting):
                    run = measure(name, network, data, choosing, CHOICE, setting, "train", "validation")
                    keep(kind="choice", method=name, size=choosing, setting=setting, seed=CHOICE, **run)
            tried = find(kind="choice", method=name, size=choosing)
            best = max(tried, key=lambda run: run["accuracy"])["setting"]
            for seed in seeds_of(size):
                if not find(kind="test", method=name, size=size, seed=seed):
                    run = measure(name, network, data, size, seed, best, "train", "test")
                    keep(kind="test", method=name, size=size, setting=best, seed=seed, **run)
                if size == 60_000 and not network and name != "random forest":
                    break  # nothing is left to chance: another seed would repeat the same numbers


if __name__ == "__main__":
    main()
