"""DP-SGD audited from within: 1,000 planted gradients, each in the training by the toss of a coin: privacy_audit.npz.

    python experiments/privacy_audit.py

A canary is a gradient of length 1, the clipping norm, in a direction of its own, at right angles to all other canaries.
The auditor knows everything but the coins of the canaries and the noise: differential privacy promises as much. He sees
every step's noisy sum, less the images' own gradients, and tells from its part along each direction whether that canary
was in; or he sees only the total of these, which is what the final weights give away. See chapter `privacy`.
"""
import json
import shlex
import sys
import time
from pathlib import Path

import numpy as np
from privacy import IMAGES, calibrated, private_trainer

from imagebook.records import write_arrays
from imagebook.studies import provenance, short

CANARIES, RUNS, BATCH, STEPS, RATE = 1000, 3, 1024, 120, 2.0
EPSILONS = (1.0, 2.0, 4.0, 8.0)


def audit(epsilon, seed):
    """Return the noise, the coins, the two scores of every canary and the test accuracy of one training."""
    private, q = private_trainer(), BATCH / IMAGES
    noise, numbers = calibrated(q, STEPS, epsilon), np.random.default_rng([seed, 8])
    private.trainer.start(seed)
    directions = np.linalg.qr(numbers.standard_normal((sum(private.sizes), CANARIES)))[0].T.astype("float32")
    inside = numbers.random(CANARIES) < 0.5
    ratio, total = np.zeros(CANARIES), np.zeros(CANARIES)

    def watch(noisy_sum, image_sum):
        nonlocal ratio, total
        present = inside & (numbers.random(CANARIES) < q)
        noisy_sum = noisy_sum + present.astype("float32") @ directions
        seen = (directions @ (noisy_sum - image_sum)).astype(float)
        # The log likelihood ratio of a sampled canary of length 1 against none, in noise of this deviation.
        ratio += np.log(1 - q + q * np.exp((seen - 0.5) / noise**2))
        total += seen
        return noisy_sum

    private.fit(seed, range(IMAGES), q, STEPS, RATE / BATCH, 1.0, noise, watch)
    return noise, inside, ratio, total, private.trainer.evaluate(*private.trainer.test)[1]


def main():
    began, runs, kept = time.process_time(), [], {"inside": [], "ratio": [], "total": []}
    for epsilon in EPSILONS:
        for seed in range(RUNS):
            noise, inside, ratio, total, accuracy = audit(epsilon, seed)
            runs.append({"epsilon": epsilon, "seed": seed, "noise": round(noise, 4), "test_accuracy": short(accuracy)})
            for name, values in (("inside", inside), ("ratio", ratio), ("total", total)):
                kept[name].append(values)
            print(epsilon, seed, noise, accuracy, ratio[inside].mean(), ratio[~inside].mean(), flush=True)
    versions = provenance()
    versions["command"] = shlex.join(["python", f"experiments/{Path(sys.argv[0]).name}"])
    about = {"fixed": {"canaries": CANARIES, "batch": BATCH, "steps": STEPS, "images": IMAGES, "rate": RATE}, "runs": runs,
             "cpu_seconds": round(time.process_time() - began, 1), "made": versions}
    # But for "about": a row for every run, in the order of "runs".
    write_arrays(Path(__file__).with_suffix(".npz"), about=json.dumps(about),
                 inside=np.array(kept["inside"]), ratio=np.array(kept["ratio"], "float16"), total=np.array(kept["total"], "float16"))


if __name__ == "__main__":
    main()
