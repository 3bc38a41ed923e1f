"""One small CNN, every common optimizer, each at its own learning rates: experiments/optimizer.jsonl.

    python experiments/optimizer.py --workers 2

What differs between runs is the rule that turns gradients into steps, its learning rate and the seed; runs with the
same seed begin with the same weights and see the same images in the same order. "GD" is gradient descent on all
training images at once, so it takes one step an epoch; "GD, long" is allowed six times the epochs. Every other
rule gets batches of 64. See chapter `optimizer`.
"""
import functools

import keras

from imagebook.studies import Study, Trainer, small_network

EPOCHS, LONG, BATCH_SIZE, IMAGES = 10, 60, 64, 6144
RATES = [  # three a decade
    1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
# Everything but the rate is at Keras's default, unless it is written here.
OPTIMIZERS = {
    "GD": lambda: keras.optimizers.SGD(),
    "GD, long": lambda: keras.optimizers.SGD(),
    "SGD": lambda: keras.optimizers.SGD(),
    "momentum": lambda: keras.optimizers.SGD(momentum=0.9),
    "Nesterov": lambda: keras.optimizers.SGD(momentum=0.9, nesterov=True),
    "Adagrad": lambda: keras.optimizers.Adagrad(),
    "RMSprop": lambda: keras.optimizers.RMSprop(),
    "Adadelta": lambda: keras.optimizers.Adadelta(),
    "Adam": lambda: keras.optimizers.Adam(),
    "AdamW": lambda: keras.optimizers.AdamW(),
    "AdamW, 0.1": lambda: keras.optimizers.AdamW(weight_decay=0.1),
    # Between Adam and RMSprop, asked after the others were seen: one without momentum, one with RMSprop's memory.
    "Adam, beta_1 0": lambda: keras.optimizers.Adam(beta_1=0.0),
    "Adam, beta_2 0.9": lambda: keras.optimizers.Adam(beta_2=0.9),
}
# The least and the greatest rate of each; the best one must lie inside.
RANGES = {
    "GD": (0.05, 1), "GD, long": (0.05, 0.5), "SGD": (1e-3, 2), "momentum": (1e-4, 0.2), "Nesterov": (1e-4, 0.2),
    "Adagrad": (1e-3, 2), "RMSprop": (5e-5, 0.1), "Adadelta": (1e-3, 50), "Adam": (5e-5, 0.1),
    "AdamW": (5e-4, 0.1), "AdamW, 0.1": (5e-4, 0.1), "Adam, beta_1 0": (1e-3, 0.02), "Adam, beta_2 0.9": (1e-3, 0.02),
}
# Two leads over Adam, found among many comparisons, are asked for once more with ten seeds that nobody had seen: at the
# rates that validation had chosen, and no others.
CHOSEN = {"Adam": 5e-3, "RMSprop": 5e-3, "Adadelta": 10.0}
FRESH = {", again": 100, ", third": 200}  # added to the seed
RANGES |= {name + word: (rate, rate) for name, rate in CHOSEN.items() for word in FRESH}
LEFT_OUT = {("Adadelta", rate) for rate in (2e-3, 5e-3, 0.02, 0.05)}  # far from its best, and not its default


def split(name):
    """Return the optimizer that a name means, and what is added to its seeds."""
    for word, more in FRESH.items():
        if name.endswith(word):
            return name.removesuffix(word), more
    return name, 0


@functools.lru_cache(maxsize=2)
def trainer(optimizer):
    """Return the compiled trainer of an optimizer, which forgets the one before."""
    keras.backend.clear_session()
    return Trainer(small_network(), OPTIMIZERS[optimizer]())


def run(settings):
    """Train once; return what the record keeps of it."""
    optimizer, more = split(settings["optimizer"])
    whole = optimizer.startswith("GD")
    epochs = LONG if optimizer == "GD, long" else EPOCHS
    record = trainer(optimizer).run(
        seed=settings["seed"] + more, rates=settings["learning_rate"], epochs=epochs,
        batch_size=IMAGES if whole else BATCH_SIZE)
    if epochs == LONG:  # every sixth epoch is enough to draw
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            record[name] = record[name][LONG // EPOCHS - 1::LONG // EPOCHS]
    return record


def exists(settings):
    """Say whether a rate lies within the range of its optimizer."""
    least, most = RANGES[settings["optimizer"]]
    cell = settings["optimizer"], settings["learning_rate"]
    return least <= settings["learning_rate"] <= most and cell not in LEFT_OUT


STUDY = Study(
    __file__, run, factors={"optimizer": list(RANGES), "learning_rate": RATES}, seeds=5,
    fixed={
        "model": "conv 5×5 stride 2, 8 maps, ReLU; conv 3×3, 16 maps, ReLU; max pooling 2×2; dense 10",
        "epochs": EPOCHS, "epochs of GD, long": LONG, "batch_size": BATCH_SIZE, "batch_size of GD": IMAGES,
        "schedule": "none: the rate is the same for all steps",
        "momentum": 0.9, "RMSprop": "rho 0.9", "Adadelta": "rho 0.95", "Adam": "beta 0.9, 0.999",
        "weight_decay": "AdamW: 0.004; AdamW, 0.1: 0.1", "epsilon": 1e-7,
    },
    about="a small CNN on 6,144 digits, thirteen optimizers, each at its own learning rates",
    group=lambda settings: split(settings["optimizer"])[0], where=exists)

if __name__ == "__main__":
    STUDY.main()
