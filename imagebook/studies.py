"""Studies: many short trainings over a declared grid, spread over processes, each written down when it ends.

A study is a script in `experiments/` with a function `run(settings)` and a `Study`; its record lies beside it, one
JSON object a line. See `experiments/activation.py` for one, and "A study" in CONTRIBUTING.md for its command line.
"""
import argparse
import functools
import importlib
import json
import logging
import math
import os
import platform
import random
import shlex
import sys
import time
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np

from .data import load_mnist
from .records import short

PACKAGES = ("tensorflow", "keras", "numpy")  # what the numbers of a record come from
# One thread a process: small networks gain nothing from a second one, and CPU seconds then mean work.
ENVIRONMENT = {name: "1" for name in (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")}
ENVIRONMENT |= {"TF_CPP_MIN_LOG_LEVEL": "3"}


class Study:
    """A grid of settings, the function that turns one of them into a record, and the file that holds the records.

    script: the study's own file, `__file__`; the record is beside it, with the suffix .jsonl.
    run: the function run(settings) at the top level of that file. `settings` is a dictionary with one value for every
        factor and "seed"; what it returns, a dictionary of numbers, texts and lists of them, must depend on nothing
        else. The file travels to the workers, so it imports nothing from its own folder.
    factors: a dictionary from names to the values that they take; every combination is a cell of the grid,
        unless where(settings) says False of it.
    seeds: how many runs each cell has: seeds 0, 1, 2, …
    fixed: everything else that a reader needs to run it again, as a dictionary. It is written at the head of the
        record, and a record with other fixed settings is not added to.
    group: runs for which group(settings) is equal follow one another, so that a compiled model serves them all.
    """

    def __init__(self, script, run, factors, seeds, fixed, about, group=lambda settings: 0, where=lambda settings: True):
        self.script = Path(script)
        self.path = self.script.with_suffix(".jsonl")
        self.run, self.factors, self.seeds, self.group, self.where = run, factors, seeds, group, where
        header = {"study": self.script.stem, "about": about, "factors": list(factors), "fixed": fixed}
        self.header = json.loads(json.dumps(header))  # as it will be read again

    def __repr__(self):
        return f"Study({self.script.stem}: {' × '.join(self.factors)}, {self.seeds} seeds)"

    def grid(self):
        """Return the settings of all runs, those of a group together."""
        cells = (dict(zip(self.factors, values)) for values in product(*self.factors.values()))
        runs = [{**cell, "seed": seed} for cell in cells if self.where(cell) for seed in range(self.seeds)]
        order = {}
        for settings in runs:
            order.setdefault(self.group(settings), []).append(settings)
        return [settings for group in order.values() for settings in group]

    def key(self, settings):
        """Return what tells a run from all others: its settings, hashable."""
        return (*(settings[name] for name in self.factors), settings["seed"])

    def recorded(self):
        """Return the last entry of every run in the record, failed ones too, by key."""
        return last_entries(self.path)

    def read(self):
        """Return the recorded runs of the grid that did not fail, in the grid's order."""
        entries = self.recorded()
        found = (entries.get(self.key(settings)) for settings in self.grid())
        return [entry for entry in found if entry and "error" not in entry]

    def failures(self):
        """Return the entries of the runs that failed, each with its error."""
        return [entry for entry in self.recorded().values() if "error" in entry]

    def missing(self, retry_failed=False):
        """Return the settings that were not run yet, or failed when those are to be retried."""
        entries = self.recorded()
        done = {key for key, entry in entries.items() if not (retry_failed and "error" in entry)}
        return [settings for settings in self.grid() if self.key(settings) not in done]

    def execute(self, workers=None, address=None, retry_failed=False):
        """Run what is missing and append every run to the record when it ends; return how many failed.

        workers: processes on this machine, by default one a processor. address: of a running Dask scheduler
        ("tcp://…:8786") whose workers have this package; then `workers` does not count.
        Raises SystemExit where another process is at this study, or the record was made otherwise.
        """
        from distributed import Client, as_completed
        from filelock import FileLock, Timeout
        from tqdm import tqdm

        lock = FileLock(self.path.with_suffix(".lock"))  # the system lets go of it when its process ends, however it ends
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise SystemExit(f"Another process is at {self.script.name}: wait for it, or stop it first.") from None
        with lock:
            self.check_header()
            todo = self.missing(retry_failed)
            if not todo:
                return 0
            with connect(workers, address) as cluster, Client(cluster) as client:
                client.upload_file(str(self.script))
                count = len(client.nthreads())
                self.append({"begin": {**provenance(), "workers": count, "runs": len(todo)}})
                started, busy, failed = time.monotonic(), 0.0, 0
                # A lower number goes first, and the runs of a group stand together.
                futures = {
                    client.submit(perform, self.script.stem, settings, pure=False, priority=-number): settings
                    for number, settings in enumerate(todo)
                }
                with tqdm(total=len(todo), unit="run", desc=self.script.stem, smoothing=0.05) as bar:
                    for future in as_completed(futures):
                        settings = futures.pop(future)
                        entry, seconds = outcome(future, settings)
                        self.append(entry)
                        busy, failed = busy + seconds, failed + ("error" in entry)
                        bar.set_postfix(failed=failed, refresh=False)
                        bar.update()
                wall = time.monotonic() - started
                self.append({"end": {"wall_seconds": round(wall, 1), "busy": round(busy / wall / count, 3)}})
        return failed

    def check_header(self):
        """Begin the record, or raise SystemExit where it was made with other fixed settings or package versions."""
        cure = f"Move {self.path.name} away to record anew, or undo the change."
        if not self.path.exists() or not self.path.stat().st_size:
            self.append(self.header)
            return
        entries = read_entries(self.path)
        for name in ("factors", "fixed"):
            if not entries or entries[0].get(name) != self.header[name]:
                raise SystemExit(f"{self.path.name} was recorded with other {name} than {self.header[name]}. {cure}")
        for entry in entries:
            old = entry.get("begin", provenance())["versions"]
            if old != provenance()["versions"]:
                raise SystemExit(f"{self.path.name} was recorded with {old}, here are {provenance()['versions']}. {cure}")

    def append(self, entry):
        """Add one line to the record, and see it to the disk: a study that is killed loses no run that has ended."""
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
        with open(self.path, "ab+") as file:
            whole = file.seek(0, os.SEEK_END)
            if whole:
                file.seek(whole - 1)
                if file.read() != b"\n":  # a line that a power cut left half-written: its run is run again
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def repeat(self, count, choose=0):
        """Run `count` recorded runs again, here, and return a list of (recorded entry, new entry, within the spread)."""
        runs = self.read()
        repeated = []
        for old in random.Random(choose).sample(runs, min(count, len(runs))):
            new = self.run({name: old[name] for name in [*self.factors, "seed"]})
            alike = [run["test_accuracy"] for run in runs if self.key(run)[:-1] == self.key(old)[:-1]]
            repeated.append((old, new, within_spread(new["test_accuracy"], alike)))
        return repeated

    def main(self, arguments=None):
        """Be the study's command line."""
        parser = argparse.ArgumentParser(description=self.header["about"])
        parser.add_argument("--workers", type=int, help="processes on this machine (default: one a processor)")
        parser.add_argument("--address", help="a running Dask scheduler to use instead: tcp://host:8786")
        parser.add_argument("--seeds", type=int, default=self.seeds, help="how many seeds (default: %(default)s)")
        parser.add_argument("--retry-failed", action="store_true", help="run again what failed")
        parser.add_argument("--sample", type=int, metavar="K", help="only repeat K recorded runs and compare")
        options = parser.parse_args(arguments)
        self.seeds = options.seeds
        if options.sample:
            repeated = self.repeat(options.sample)
            for old, new, inside in repeated:
                print(*self.key(old), old["test_accuracy"], new["test_accuracy"], "" if inside else "OUTSIDE", sep="  ")
            sys.exit(not all(inside for *_, inside in repeated))
        try:
            failed = self.execute(options.workers, options.address, options.retry_failed)
        except (KeyboardInterrupt, OSError) as error:  # Ctrl-C, or such as a full disk
            sys.exit(f"\nStopped by {error!r}. The runs that have ended are recorded; the same command goes on from there.")
        print(f"{self.path.name}: {len(self.read())} of {len(self.grid())} runs recorded")
        if failed:
            sys.exit(f"{failed} failed, the first with {self.failures()[0]['error']}\nThey are run again with --retry-failed.")


def connect(workers, address):
    """Return a context manager that gives what `distributed.Client` connects to."""
    from contextlib import nullcontext

    from distributed import LocalCluster

    if address:
        return nullcontext(address)
    return LocalCluster(
        n_workers=workers or os.cpu_count(), threads_per_worker=1, processes=True, dashboard_address=None,
        memory_limit=0, silence_logs=logging.CRITICAL, env=ENVIRONMENT,
    )


def perform(module, settings):
    """Do one run on a worker, which has the study's file as `module`; return its entry and its wall seconds."""
    started = time.perf_counter()
    try:
        result = importlib.import_module(module).run(settings)
        json.dumps(result, allow_nan=False)  # what cannot be written down is this run's error, not the study's end
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"[:500]}
    return {**settings, **result}, time.perf_counter() - started


def outcome(future, settings):
    """Return the entry and the seconds of a run that has ended, also where its worker died."""
    try:
        return future.result()
    except Exception as error:
        return {**settings, "error": f"{type(error).__name__}: {error}"[:500]}, 0.0


def provenance():
    """Return the command, the versions of the packages and the processor."""
    return {
        "command": shlex.join(["python", f"experiments/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "versions": {name: installed(name) for name in PACKAGES},
        "python": platform.python_version(),
        "processor": processor(),
    }


@functools.cache
def installed(package):
    """Return the version of a package; TensorFlow has two names."""
    try:
        return version(package)
    except importlib.metadata.PackageNotFoundError:
        return version(f"{package}-cpu")


def processor():
    """Return the processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def read_entries(path):
    """Return all whole lines of a record, as dictionaries: its header, its runs, and what made them."""
    path = Path(path)
    if not path.exists():
        return []
    entries = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            entries.append(json.loads(line))
        except ValueError:
            raise ValueError(f"{path.name}, line {number} is no JSON: get the file back with git checkout.") from None
    return entries


def read_record(path):
    """Return the runs of a record that did not fail, a list of dictionaries by rising seed, without its script.

    Each has its settings, and what the study's run(settings) returned. Raises FileNotFoundError where there is no
    record, ValueError where it is damaged.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"There is no record {path}: make it with the script beside it.")
    # By seed, since workers finish in any order and runs with the same seed may be compared one by one.
    return sorted((entry for entry in last_entries(path).values() if "error" not in entry), key=lambda run: run["seed"])


def last_entries(path):
    """Return the last entry of every run in a record by its settings: a run that was retried stands there twice."""
    entries = read_entries(path)
    try:
        factors = entries[0]["factors"] if entries else []
        return {(*(entry[name] for name in factors), entry["seed"]): entry for entry in entries if "seed" in entry}
    except KeyError as error:
        raise ValueError(f"{Path(path).name} is damaged, a line lacks {error}: get it back with git checkout.") from None


def within_spread(accuracy, recorded, images=10_000):
    """Say whether an accuracy fits those recorded with other seeds, or the same one.

    It may lie outside their range by as much as that is wide, and by two standard errors of a test on `images`:
    another processor rounds otherwise, and training makes of that about as much as another seed would.
    """
    low, high = min(recorded), max(recorded)
    middle = (low + high) / 2
    margin = high - low + 2 * math.sqrt(middle * (1 - middle) / images)
    return low - margin <= accuracy <= high + margin


@functools.cache
def load_split(training=6144, validation=4096):
    """Return (images, labels) for training, validation and test; images of shape (n, 28, 28, 1), uint8.

    The first two come from one fixed shuffle of MNIST's 60,000 training images, so that they are alike; 6,144 can be
    divided by every power of two up to 2,048. The test set has all its 10,000 images, which other people wrote.
    """
    (x, y), (x_test, y_test) = load_mnist()
    order = np.random.default_rng(0).permutation(len(x))[:training + validation]
    x, y = x[order, ..., None], y[order].astype("int32")
    test = x_test[..., None], y_test.astype("int32")
    return (x[:training], y[:training]), (x[training:], y[training:]), test


def article_network():
    """Return a new network with the article's layers, 1,199,882 parameters, from bytes to logits, (n, 10)."""
    import keras
    from keras import layers

    return keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / 255),
        layers.Conv2D(32, 3, activation="relu"), layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(), layers.Dropout(0.25), layers.Flatten(),
        layers.Dense(128, activation="relu"), layers.Dropout(0.5), layers.Dense(10),
    ])


def small_network():
    """Return a new network of 5,386 parameters that trains in seconds and reads some 98 % of MNIST: logits, (n, 10).

    Most studies and all of the six labs use it, so that their numbers can be laid side by side.
    """
    import keras
    from keras import layers

    return keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / 255),
        layers.Conv2D(8, 5, strides=2, activation="relu"),
        layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(10),
    ])


def all_layers(model):
    """Return the layers of a Keras model, and those of the models inside it, in order."""
    return [inner for layer in model.layers for inner in (all_layers(layer) if hasattr(layer, "layers") else [layer])]


def multiply_accumulates(model):
    """Return how many products of two numbers a built Keras model takes for one image, in its layers with a kernel."""
    # Every number of a kernel is used once at each place of the output.
    return sum(
        math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
        for layer in all_layers(model) if hasattr(layer, "kernel")
    )


class Trainer:
    """A network that is compiled once and trained many times, each time from weights that its seed draws.

    model: a Keras model from images (n, height, width, 1), uint8, to logits (n, classes).
    optimizer: of Keras; its learning rate is given anew for every training.
    data: ((images, labels), the same for validation, the same for testing); by default `load_split()`.
    augment: a function that is given the images and labels of every batch of the training, as tensors, and returns
        what to train on instead: images, and labels or probabilities (n, classes). It becomes part of the compiled
        epoch, where the size of a batch is not known; its source of chance is its own affair.

    Compiling takes longer than such a training. So there is one compiled function, an epoch, which is given the
    numbers of the images in every batch: it serves any batch size and any schedule.
    """

    def __init__(self, model, optimizer, data=None, augment=None):
        import tensorflow as tf

        (images, labels), self.validation, self.test = data or load_split()
        self.model, self.optimizer, self.augment = model, optimizer, augment
        self.images, self.labels = tf.constant(images), tf.constant(labels, tf.int32)
        optimizer.build(model.trainable_variables)
        self.first = [variable.numpy() for variable in optimizer.variables]
        batches, rates = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.float32)
        self.epoch = tf.function(self._epoch, input_signature=[batches, rates])
        self.measure = tf.function(self._measure, reduce_retracing=True)
        self.start(0)
        self.epoch(tf.zeros([1, 1], tf.int32), tf.zeros([1]))  # compiles: its time belongs to no run

    def _epoch(self, batches, rates):
        import tensorflow as tf

        loss, hits = tf.zeros(()), tf.zeros(())
        for step in tf.range(tf.shape(batches)[0]):
            images, labels = tf.gather(self.images, batches[step]), tf.gather(self.labels, batches[step])
            if self.augment:
                images, labels = self.augment(images, labels)
            with tf.GradientTape() as tape:
                logits = self.model(images, training=True)
                if labels.shape.rank == 2:  # probabilities, as mixed images have
                    losses = tf.nn.softmax_cross_entropy_with_logits(labels, logits)
                    labels = tf.argmax(labels, 1, tf.int32)
                else:
                    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                value = tf.reduce_mean(losses)
            gradients = tape.gradient(value, self.model.trainable_variables)
            self.optimizer.learning_rate.assign(rates[step])
            self.optimizer.apply(gradients)
            loss += value
            hits += tf.reduce_mean(tf.cast(tf.argmax(logits, 1, tf.int32) == labels, tf.float32))
        steps = tf.cast(tf.shape(batches)[0], tf.float32)
        return loss / steps, hits / steps

    def _measure(self, images, labels):
        import tensorflow as tf

        labels = tf.cast(labels, tf.int32)
        logits = self.model(images, training=False)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_sum(losses), tf.reduce_sum(tf.cast(tf.argmax(logits, 1, tf.int32) == labels, tf.float32))

    def evaluate(self, images, labels, many=1024):
        """Return the mean loss and the accuracy on these images, taken `many` at a time."""
        sums = np.zeros(2)
        for first in range(0, len(images), many):
            sums += self.measure(images[first:first + many], labels[first:first + many])
        return tuple(sums / len(images))

    def start(self, seed):
        """Draw all weights as the layers' own initializers do, for this seed, and empty the optimizer's memory.

        Not by Keras's global seed: on a Dask worker other threads draw from the same generator.
        """
        numbers = np.random.default_rng([seed, 0])
        for layer in all_layers(self.model):
            for name in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"):
                variable, initializer = getattr(layer, name, None), getattr(layer, f"{name}_initializer", None)
                if variable is None or initializer is None:
                    continue
                config = initializer.get_config()
                if "seed" in config:
                    config["seed"] = int(numbers.integers(2**31))
                variable.assign(type(initializer).from_config(config)(variable.shape))
        for variable, value in zip(self.optimizer.variables, self.first):
            variable.assign(value)

    def fit(self, seed, rates, epochs, batch_size):
        """Train the model as it stands; return its curves, one number an epoch, and the CPU seconds of the training.

        seed: of the order of the images, which is drawn anew for every epoch; those left over by whole batches wait
        for the next one. rates: the learning rate, or one for each of the epochs × (images // batch_size) steps.
        """
        count = len(self.images)
        if not 1 <= batch_size <= count:
            raise ValueError(f"batch_size must lie between 1 and the {count} training images, not be {batch_size}.")
        steps = count // batch_size
        if np.ndim(rates) and np.shape(rates) != (epochs * steps,):
            raise ValueError(f"rates must be one number or {epochs * steps}, one for each step, not {np.shape(rates)}.")
        rates = np.broadcast_to(np.asarray(rates, "float32"), (epochs * steps,)).reshape(epochs, steps)
        numbers = np.random.default_rng([seed, 1])
        curves = {name: [] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        seconds = 0.0
        for number in range(epochs):
            order = numbers.permutation(count)[:steps * batch_size].reshape(steps, batch_size)
            started = time.process_time()
            trained = [float(value) for value in self.epoch(order.astype("int32"), rates[number])]
            seconds += time.process_time() - started
            for name, value in zip(curves, [*trained, *self.evaluate(*self.validation)]):
                curves[name].append(short(value))
        return {**curves, "cpu_seconds": round(seconds, 3)}

    def run(self, seed, rates, epochs, batch_size):
        """Train from the first weights of this seed and return the record, with the test accuracy after the last epoch."""
        self.start(seed)
        curves = self.fit(seed, rates, epochs, batch_size)
        _, accuracy = self.evaluate(*self.test)
        return {
            **curves, "test_accuracy": short(accuracy), "parameters": self.model.count_params(),
            "multiply_accumulates": multiply_accumulates(self.model),
        }
