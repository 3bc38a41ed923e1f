"""KerasTuner's three searches in the space of automl.py, several times each, and what their choices are worth.

    python experiments/automl_search.py --workers 2

Writes automl_search.json, whatever it lacks: every trial of every search; a grid that a person would have tried, on the small network;
the rates of one optimizer, closely; and the chosen settings trained again with seeds that had no part in the choice,
with a fixed rate and, some of them, with one that falls as a cosine. A search has 225 epochs.
Three searches of each kind were recorded, and a fourth by lot (seed 3). See chapter `automl`.
"""
import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

from imagebook.records import replacing
from imagebook.studies import connect, provenance, short

HERE = Path(__file__).resolve().parent
PATH = HERE / "automl_search.json"
BUDGET, SEEDS, FRESH = 225, 3, 5  # epochs of a search; searches of each method; trainings of what it chose
METHODS = ["RandomSearch", "Hyperband", "BayesianOptimization"]
INITIAL = 10  # random trials before the first thought of Bayesian optimisation
GRID = {"optimizer": ["SGD", "RMSprop", "Adam"], "learning_rate": [0.001, 0.003, 0.01, 0.03], "batch_size": [64, 128]}
SLICE = [short(rate) for rate in np.logspace(-4, 0, 17)]


def declare(automl, values):
    """Give the space of automl.py to KerasTuner and return the setting that it answers with."""
    setting = {}
    for name, options in automl.SPACE.items():
        if isinstance(options, tuple):
            sampling = "log" if name == "learning_rate" else "linear"
            setting[name] = values.Float(name, *options, sampling=sampling)
        else:
            setting[name] = values.Choice(name, options)
    return setting


def make_tuner(automl, method, seed, folder):
    """Return one of KerasTuner's tuners whose trials train with the compiled epoch of `Trainer`."""
    import keras_tuner

    values = keras_tuner.HyperParameters()
    declare(automl, values)
    # 1,000 apart: the seed of a trial's numbers is this one plus how many were drawn before, and 0 is no seed.
    options = {"seed": 1000 * (seed + 1), "hyperparameters": values, "directory": folder}
    if method == "Hyperband":
        options |= {"max_epochs": automl.EPOCHS, "factor": 3, "hyperband_iterations": 3}
    else:
        options |= {"max_trials": BUDGET // automl.EPOCHS}
    if method == "BayesianOptimization":
        options["num_initial_points"] = INITIAL

    class Tuner(getattr(keras_tuner, method)):
        def run_trial(self, trial, **options):
            values, started = trial.hyperparameters.values, time.process_time()
            thinking, setting = started - self.last, {name: values[name] for name in automl.SPACE}
            first, last = values.get("tuner/initial_epoch", 0), values.get("tuner/epochs", automl.EPOCHS)
            if first:
                trainer = self.trained[trial.trial_id] = self.trained.pop(values["tuner/trial_id"])
            else:
                trainer = automl.Trainer(automl.network(setting), automl.OPTIMIZERS[setting["optimizer"]]())
                automl.start(trainer, seed)
                self.trained[trial.trial_id] = trainer
            curves = trainer.fit(10 * seed + first, setting["learning_rate"], last - first, setting["batch_size"])
            self.last = time.process_time()
            self.tried.append({
                "setting": {name: short(x) if isinstance(x, float) else x for name, x in setting.items()},
                "from": first, "to": last, "val_accuracy": curves["val_accuracy"][-1],
                "training": round(self.last - started, 2), "thinking": round(thinking, 2)})
            kernel = getattr(getattr(self.oracle, "gpr", None), "kernel_", None)  # once there is a fitted one
            if kernel is not None:
                self.tried[-1]["length_scale"] = short(kernel.length_scale)
            return 1 - curves["val_accuracy"][-1]

    tuner = Tuner(**options)
    tuner.trained, tuner.tried, tuner.last = {}, [], time.process_time()
    return tuner


def search(method, seed):
    """Do one search and return its trials in the order in which they ended."""
    import automl

    with tempfile.TemporaryDirectory() as folder:
        tuner = make_tuner(automl, method, seed, folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of length scales at the end of their range, which the record has
            tuner.search(verbose=0)
        best = tuner.get_best_hyperparameters()[0].values
        chosen = {name: best[name] for name in automl.SPACE}
    epochs = sum(trial["to"] - trial["from"] for trial in tuner.tried)
    return {"method": method, "seed": seed, "epochs": epochs, "chosen": chosen, "trials": tuner.tried}


def cosine(rate, steps):
    return rate * (1 + np.cos(np.pi * np.arange(steps) / steps)) / 2


def trained(setting, seeds, schedule="fixed"):
    """Train a setting with these seeds; return last validation and test accuracies, and its size."""
    import automl

    runs = []
    for seed in seeds:
        steps = automl.EPOCHS * (6144 // setting["batch_size"])
        rates = cosine(setting["learning_rate"], steps) if schedule == "cosine" else None
        runs.append(automl.train(setting, seed, rates))
    return {
        "schedule": schedule, "val_accuracy": [run["val_accuracy"][-1] for run in runs],
        "test_accuracy": [run["test_accuracy"] for run in runs], "parameters": runs[0]["parameters"],
        "products": runs[0]["products"], "cpu_seconds": round(sum(run["cpu_seconds"] for run in runs), 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a processor)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="searches of each method (default: %(default)s)")
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))
    import automl
    from distributed import Client, as_completed

    grid = [{**automl.HAND, "optimizer": optimizer, "learning_rate": rate, "batch_size": size}
            for optimizer in GRID["optimizer"] for size in GRID["batch_size"] for rate in GRID["learning_rate"]]
    record = read() or {
        "about": __doc__.splitlines()[0], **provenance(), "budget": BUDGET, "keras_tuner": version("keras-tuner"),
        "initial": INITIAL, "searches": [], "grid": [], "slice": [], "finals": []}
    with connect(options.workers, None) as cluster, Client(cluster) as client:
        client.upload_file(str(HERE / "automl.py"))

        def work(jobs):
            """Do jobs, (function, arguments, what to do with the result), and write each down when it ends."""
            futures = {client.submit(job, *arguments, pure=False): note for job, arguments, note in jobs}
            for future in as_completed(futures):
                futures.pop(future)(future.result())
                write(record)

        def note_grid(setting):
            return lambda one: record["grid"].append(
                {**setting, "val_accuracy": one["val_accuracy"][0], "cpu_seconds": one["cpu_seconds"]})

        def note_slice(rate):
            return lambda one: record["slice"].append([rate, one["val_accuracy"][0]])

        def note_final(by, seed, setting):
            return lambda end: record["finals"].append({"by": by, "seed": seed, "setting": setting, **end})

        done = [{name: run[name] for name in automl.SPACE} for run in record["grid"]]
        work([(trained, (setting, [0]), note_grid(setting)) for setting in grid if setting not in done])
        done = {(one["method"], one["seed"]) for one in record["searches"]}
        work([(search, (method, seed), record["searches"].append) for seed in range(options.seeds)
              for method in METHODS if (method, seed) not in done])
        record["searches"].sort(key=lambda one: (one["seed"], METHODS.index(one["method"])))
        best = max(record["grid"], key=lambda run: run["val_accuracy"])
        finals = [("hand", 0, automl.HAND), ("grid", 0, {name: best[name] for name in automl.SPACE})]
        finals += [("default", 0, {**automl.HAND, "optimizer": "Adam", "learning_rate": 0.001})]
        finals += [("table", 0, automl.draw(best_of_table(automl.NUMBERS)))]
        finals += [(one["method"], one["seed"], one["chosen"]) for one in record["searches"]]
        jobs = [(*final, "fixed") for final in finals]
        first = max(record["searches"], key=top)
        jobs += [(*final, "cosine") for final in finals if final[:2] in (
            ("hand", 0), ("table", 0), (first["method"], first["seed"]))]
        done = {(end["by"], end["seed"], end["schedule"]) for end in record["finals"]}
        work([(trained, (setting, list(range(100, 100 + FRESH)), schedule), note_final(by, seed, setting))
              for by, seed, setting, schedule in jobs if (by, seed, schedule) not in done])
        rates = [rate for rate, _ in record["slice"]]
        work([(trained, ({**automl.HAND, "optimizer": "Adam", "learning_rate": rate}, [number]), note_slice(rate))
              for number, rate in enumerate(SLICE) if rate not in rates])
        record["slice"].sort()
        write(record)


def top(search):
    return max(trial["val_accuracy"] for trial in search["trials"])


def best_of_table(numbers):
    """Return the number of the setting whose two recorded runs are best in the mean, of all."""
    runs = [json.loads(line) for line in (HERE / "automl.jsonl").read_text(encoding="utf-8").splitlines()]
    table = {(run["number"], run["seed"]): run["val_accuracy"][-1] for run in runs if "seed" in run}
    return max(range(numbers), key=lambda number: table[number, 0] + table[number, 1])


def read():
    return json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}


def write(record):
    with replacing(PATH) as beside:
        beside.write_text(json.dumps(record, separators=(",", ":")), encoding="utf-8")


if __name__ == "__main__":
    main()
