"""DP-SGD on nine times the images, 55,296: what each epsilon costs there: experiments/privacy_large.json.

    python experiments/privacy_large.py

Seed 0 tries every rate; the validation images choose one for each epsilon, and one more seed runs at it. They are the
same 4,096 validation images as in `privacy.py`, and the 55,296 hold the 6,144 of that study. See chapter `privacy`.
"""
import json
import shlex
import sys
import time
from pathlib import Path

import keras
import numpy as np
from privacy import DELTA, PrivateTrainer, calibrated

from imagebook.data import load_mnist
from imagebook.records import replacing
from imagebook.studies import Trainer, load_split, provenance, short, small_network

IMAGES, EPOCHS, BATCH, SEEDS = 55_296, 6, 2048, 2
RATES = {0.5: (2.0, 4.0), 1.0: (4.0,), 2.0: (4.0,), 4.0: (4.0,), 8.0: (4.0, 6.0), None: (4.0,)}
PLAIN = (64, 2.0**-5)  # batch size and rate of SGD with momentum 0.9, neither clipped nor noisy


def split():
    """Return 55,296 images with the training images of `load_split` among them, its validation images, its test set."""
    (x, y), _ = load_mnist()
    order = np.random.default_rng(0).permutation(len(x))  # as load_split has it: 6,144, then 4,096, then the rest
    chosen = np.concatenate([order[:6144], order[6144 + 4096:]])[:IMAGES]
    _, validation, test = load_split()
    return (x[chosen, ..., None], y[chosen].astype("int32")), validation, test


def measured(trainer):
    validation, tested = trainer.evaluate(*trainer.validation), trainer.evaluate(*trainer.test)
    return {"val_accuracy": short(validation[1]), "val_loss": short(validation[0]), "test_accuracy": short(tested[1])}


def main():
    began, data, runs, steps = time.process_time(), split(), [], EPOCHS * IMAGES // BATCH
    private = PrivateTrainer(data)

    def train(epsilon, rate, seed):
        noise = calibrated(BATCH / IMAGES, steps, epsilon) if epsilon else 0.0
        private.trainer.start(seed)
        share, seconds = private.fit(seed, range(IMAGES), BATCH / IMAGES, steps, rate / BATCH, 1.0, noise)
        runs.append({"epsilon": epsilon, "learning_rate": rate, "seed": seed, "noise": round(noise, 4),
                     "clipped": short(share), "cpu_seconds": round(seconds, 1), **measured(private.trainer)})
        print(runs[-1], flush=True)
        return runs[-1]["val_accuracy"]

    for epsilon, rates in RATES.items():
        best = max(rates, key=lambda rate: train(epsilon, rate, 0))
        for seed in range(1, SEEDS):
            train(epsilon, best, seed)
    plain = Trainer(small_network(), keras.optimizers.SGD(momentum=0.9), data)
    for seed in range(SEEDS):
        plain.start(seed)
        seconds = plain.fit(seed, PLAIN[1], EPOCHS, PLAIN[0])["cpu_seconds"]
        runs.append({"epsilon": "plain", "learning_rate": PLAIN[1], "seed": seed, "cpu_seconds": seconds, **measured(plain)})
        print(runs[-1], flush=True)
    versions = provenance()
    versions["command"] = shlex.join(["python", f"experiments/{Path(sys.argv[0]).name}"])
    record = {"fixed": {"images": IMAGES, "epochs": EPOCHS, "batch": BATCH, "steps": steps, "clip": 1.0, "delta": DELTA},
              "runs": runs, "cpu_seconds": round(time.process_time() - began, 1), "made": versions}
    with replacing(Path(__file__).with_suffix(".json")) as beside:
        beside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
