"""One small CNN, eight schedules of the learning rate, each with peaks over three decades: experiments/learning_rate.jsonl.

    python experiments/learning_rate.py --workers 2

What is asked is the schedule, for a short and for a long training, with SGD with momentum and with Adam; its peak is
tuned for each. Runs with the same seed begin with the same weights and see the same images in the same order.
See chapter `learning-rate`.
"""
import functools

import keras
import numpy as np

from imagebook.studies import Study, Trainer, small_network

IMAGES, BATCH_SIZE = 6144, 64
SCHEDULES = ["fixed", "warm-up", "exponential", "step", "linear", "cosine", "warm-up, cosine", "one-cycle"]
OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(),
}
RATES = [1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
RANGES = {"SGD": (1e-3, 1.0), "Adam": (1e-4, 0.1)}


def rates(schedule, peak, steps):
    """Return the learning rate of each step, an array of shape (steps,); `peak` is the largest one.

    t is the share of the training that is done before a step, from 0 to almost 1.
    """
    t = np.arange(steps) / steps
    rising = np.minimum(1, (np.arange(steps) + 1) / (0.1 * steps))  # over a tenth of the steps
    up = 0.3  # one-cycle: three tenths of the steps from a 25th of the peak up to it, then down to almost nothing
    cycle = np.where(t < up, 1 / 25 + (1 - 1 / 25) * (1 - np.cos(np.pi * t / up)) / 2,
                     (1 + np.cos(np.pi * (t - up) / (1 - up))) / 2)
    shape = {
        "fixed": np.ones(steps),
        "warm-up": rising,
        "exponential": 0.01**t,
        "step": np.where(t < 0.5, 1, np.where(t < 0.75, 0.1, 0.01)),
        "linear": 1 - t,
        "cosine": (1 + np.cos(np.pi * t)) / 2,
        "warm-up, cosine": rising * np.where(t < 0.1, 1, (1 + np.cos(np.pi * (t - 0.1) / 0.9)) / 2),
        "one-cycle": cycle,
    }[schedule]
    return peak * shape


@functools.lru_cache(maxsize=2)  # compiled networks; runs of a group use the same
def trainer(optimizer):
    return Trainer(small_network(), OPTIMIZERS[optimizer]())


def run(settings):
    epochs = settings["epochs"]
    steps = epochs * (IMAGES // BATCH_SIZE)
    return trainer(settings["optimizer"]).run(
        seed=settings["seed"], rates=rates(settings["schedule"], settings["peak"], steps),
        epochs=epochs, batch_size=BATCH_SIZE)


def exists(settings):
    least, most = RANGES[settings["optimizer"]]
    return least <= settings["peak"] <= most


STUDY = Study(
    __file__, run, factors={
        "schedule": SCHEDULES, "peak": RATES, "optimizer": list(OPTIMIZERS), "epochs": [2, 8]}, seeds=5,
    fixed={
        "model": "conv 5×5 stride 2, 8 maps, ReLU; conv 3×3, 16 maps, ReLU; max pooling 2×2; dense 10",
        "images": IMAGES, "batch_size": BATCH_SIZE, "SGD": "momentum 0.9", "Adam": "beta 0.9, 0.999, epsilon 1e-7",
        "warm-up": "linear, over the first tenth of the steps", "exponential": "to a hundredth",
        "step": "a tenth after half of the steps, a hundredth after three quarters", "linear, cosine": "to 0",
        "one-cycle": "from a 25th up over three tenths of the steps, then down to 0, both as a cosine; momentum fixed",
    },
    about="a small CNN on 6,144 digits, eight schedules, two optimizers, a short and a long training",
    group=lambda settings: settings["optimizer"], where=exists)

if __name__ == "__main__":
    STUDY.main()
