"""The small network made smaller, in many ways, with five seeds each: experiments/edge.jsonl.

    python experiments/edge_teacher.py                first: what the teachers say of the training images
    python experiments/edge.py --workers 2

Every network gets the same training, 1,728 steps with 64 images. Those that are shrunk while they learn (pruned, or
trained with rounded weights) get two thirds of it as they are and one third for that. `method` says what is done,
`level` how much: the share of weights that is removed, the share of maps that is kept, bits, or a temperature; `images`
is how many training images there are. See chapter `edge`.
"""
import functools
import gzip
from pathlib import Path

import keras
import numpy as np
from keras import layers

import imagebook
from imagebook import load_mnist
from imagebook.studies import Study, Trainer, load_split, short

BATCH, STEPS, TUNING = 64, 1728, 576  # TUNING: the last third, where a network is shrunk while it learns
PEAK, PEAK_TUNING = 0.02, 0.01  # Adam's learning rate: up for a tenth of the steps, then down to nothing
IMAGES = [384, 1536, 6144, 24576]
SPARSITIES = [0.5, 0.7, 0.8, 0.9, 0.95, 0.98]
SMALL, TINY, WIDE = ((8, 16), 2), ((4, 8), 2), ((16, 32), 2)  # maps of the two convolutions, side of the pooling
# Dense networks with no more weights than a pruned one keeps: fewer maps, or maps that are pooled more coarsely.
DENSE = {
    "narrow": {0.5: (6, 8), 0.7: (4, 5), 0.8: (4, 3), 0.9: (1, 2), 0.95: (1, 1)},
    "pooled": {0.5: (9, 20), 0.7: (6, 15), 0.8: (5, 11), 0.9: (3, 7), 0.95: (2, 4), 0.98: (1, 2)},
}
KEPT = {0.75: (6, 12), 0.5: (4, 8), 0.25: (2, 4)}  # share of the maps that is kept, and their numbers
BITS = [8, 6, 5, 4, 3, 2]
# For every method its pairs of level and number of images.
PLAN = {
    "labels": [(0, count) for count in IMAGES],
    "smooth": [(0.1, 6144)],
    "teacher": [(1, 6144), (4, 6144), (16, 6144), *((4, count) for count in (384, 1536, 24576))],
    "peer": [(4, count) for count in (384, 1536, 6144)],
    "tiny labels": [(0, 6144)],
    "tiny smooth": [(0.1, 6144)],
    "tiny teacher": [(level, 6144) for level in (1, 4, 16)],
    "tiny peer": [(4, 6144)],
    **{name: [(level, 6144) for level in SPARSITIES] for name in ("cut", "cut, tuned", "gradual", "random", "fresh")},
    **{name: [(level, 6144) for level in sizes] for name, sizes in DENSE.items()},
    "wide": [(level, 6144) for level in (0, 0.5, 0.8, 0.9, 0.95)],
    **{name: [(level, 6144) for level in KEPT] for name in ("maps", "maps, tuned", "maps, fresh")},
    **{name: [(level, 6144) for level in BITS] for name in ("tensor bits", "channel bits", "clipped bits")},
    "trained bits": [(level, 6144) for level in (8, 4, 3, 2)],
    "trained, clipped": [(level, 6144) for level in (4, 3, 2)],
    "together": [(level, 6144) for level in (0.5, 0.8, 0.9)],  # pooled, taught, and trained with 4 bits
}


def network(maps, pool):
    """Return the small network with other numbers of maps, and another pooling."""
    return keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / 255),
        layers.Conv2D(maps[0], 5, strides=2, activation="relu"),
        layers.Conv2D(maps[1], 3, activation="relu"), layers.MaxPooling2D(pool),
        layers.Flatten(), layers.Dense(10),
    ])


@functools.cache
def pictures(count=24576):
    """Return training images and labels: those of `load_split`, then others, none of which is in its validation set."""
    (images, labels), *_ = load_split()
    (more, more_labels), _ = load_mnist()
    order = np.random.default_rng(0).permutation(60_000)[10240:10240 + count - 6144]
    return np.concatenate([images, more[order, ..., None]]), np.concatenate([labels, more_labels[order].astype("int32")])


def rounded(kernel, top, per_channel=True, steps=None):
    """Return a kernel with whole multiples of a step, at most `top` of them up and down, in place of its weights.

    steps: one for each output; where it is 0, and without it, the largest weight is `top` steps.
    """
    import tensorflow as tf

    axes = list(range(len(kernel.shape) - 1)) if per_channel else None
    step = tf.reduce_max(tf.abs(kernel), axes, keepdims=True) / top + 1e-12
    if steps is not None:
        step = tf.where(steps > 0, steps, step)
    return tf.clip_by_value(tf.round(kernel / step), -top, top) * step


def best_steps(kernel, top):
    """Return for each output the step, of forty tried, with which rounding changes the kernel least; shape (outputs,)."""
    flat = kernel.reshape(-1, kernel.shape[-1])
    tries = np.arange(1, 41)[:, None] / 40 * (np.abs(flat).max(axis=0) / top + 1e-12)
    errors = [((np.clip(np.round(flat / steps), -top, top) * steps - flat) ** 2).sum(axis=0) for steps in tries]
    return tries[np.argmin(errors, axis=0), np.arange(flat.shape[1])].astype("float32")


class Shrinker(Trainer):
    """A trainer whose weights can be masked and rounded in the forward pass, and whose targets can be soft."""

    def __init__(self, maps, pool):
        import tensorflow as tf

        model = network(maps, pool)
        self.masks = [tf.Variable(tf.ones(variable.shape)) for variable in model.trainable_variables]
        self.targets = tf.Variable(tf.zeros((len(pictures()[0]), 10)))
        self.temperature, self.top = tf.Variable(1.0), tf.Variable(0.0)
        self.steps = [tf.Variable(tf.zeros(variable.shape[-1])) for variable in model.trainable_variables]
        super().__init__(model, keras.optimizers.Adam(), (pictures(), *load_split()[1:]))

    def effective(self):
        """Return the weights that the forward pass uses; the gradient goes through the rounding as if it were not there."""
        import tensorflow as tf

        values = []
        for variable, mask, steps in zip(self.model.trainable_variables, self.masks, self.steps):
            value = variable * mask
            if len(variable.shape) > 1:
                change = rounded(value, tf.maximum(self.top, 1.0), steps=steps) - value
                value = value + tf.stop_gradient(tf.where(self.top > 0, change, tf.zeros_like(value)))
            values.append(value)
        return values

    def _epoch(self, batches, rates):
        import tensorflow as tf

        loss, variables = tf.zeros(()), self.model.trainable_variables
        for step in tf.range(tf.shape(batches)[0]):
            images, targets = tf.gather(self.images, batches[step]), tf.gather(self.targets, batches[step])
            with tf.GradientTape() as tape:
                logits, _ = self.model.stateless_call(self.effective(), [], images, training=True)
                losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits / self.temperature)
                value = self.temperature**2 * tf.reduce_mean(losses)
            self.optimizer.learning_rate.assign(rates[step])
            self.optimizer.apply(tape.gradient(value, variables))
            for variable, mask in zip(variables, self.masks):
                variable.assign(variable * mask)  # Adam's memory still moves what has no gradient
            loss += value
        return loss / tf.cast(tf.shape(batches)[0], tf.float32), tf.zeros(())

    def reset(self, seed, targets, temperature=1.0):
        """Begin anew: first weights of this seed, no mask, no rounding, these targets."""
        self.start(seed)
        self.round_to(None)
        self.temperature.assign(temperature)
        self.targets[:len(targets)].assign(targets)
        for mask in self.masks:
            mask.assign(np.ones(mask.shape, "float32"))

    def round_to(self, bits, fit=False):
        """From now on, round in the forward pass, with the largest weights as they are or with the best steps for them."""
        top = 2 ** (bits - 1) - 1 if bits else 0
        self.top.assign(top)
        for variable, steps in zip(self.model.trainable_variables, self.steps):
            steps.assign(best_steps(variable.numpy(), top) if fit and len(variable.shape) > 1 else np.zeros(steps.shape, "float32"))

    def train(self, numbers, steps, peak, count=6144):
        """Take so many steps with the first `count` images, shuffled anew for every pass."""
        per_pass = count // BATCH
        orders = [numbers.permutation(count)[:per_pass * BATCH] for _ in range(-(-steps // per_pass))]
        batches = np.concatenate(orders).reshape(-1, BATCH)[:steps].astype("int32")
        self.epoch(batches, triangle(steps, peak))

    def prune(self, sparsity, weights=None):
        """Mask the smallest kernel weights, or of `weights` in their place, of all layers together."""
        kernels = [variable for variable in self.model.trainable_variables if len(variable.shape) > 1]
        weights = weights or [variable.numpy() for variable in kernels]
        everything = np.concatenate([np.abs(weight).ravel() for weight in weights])
        limit = np.sort(everything)[round(sparsity * everything.size)] if sparsity else 0
        places = [i for i, variable in enumerate(self.model.trainable_variables) if len(variable.shape) > 1]
        for place, weight in zip(places, weights):
            self.masks[place].assign((np.abs(weight) >= limit).astype("float32"))

    def bake(self):
        """Put the masked and rounded weights in the place of the others."""
        for variable, value in zip(self.model.trainable_variables, self.effective()):
            variable.assign(value)

    def record(self):
        """Return what is written down of the network as it stands."""
        self.bake()
        weights = self.model.get_weights()
        return {
            "test_accuracy": short(self.evaluate(*self.test)[1]), "val_accuracy": short(self.evaluate(*self.validation)[1]),
            "nonzero": int(sum(np.count_nonzero(weight) for weight in weights)), "parameters": self.model.count_params(),
            "gzipped": len(gzip.compress(stored(weights), 9, mtime=0)),
        }


def stored(weights):
    """Return weights as bytes: kernels as int8, with a float32 scale for each output, biases as float32."""
    parts = []
    for weight in weights:
        if weight.ndim == 1:
            parts.append(weight.astype("<f4"))
            continue
        step = np.abs(weight).reshape(-1, weight.shape[-1]).max(axis=0) / 127
        parts += [step.astype("<f4"), np.round(weight / np.where(step > 0, step, 1)).astype(np.int8)]
    return b"".join(part.tobytes() for part in parts)


def triangle(steps, peak):
    """Return learning rates that rise for a tenth of the steps and then fall to nothing, in straight lines."""
    t = (np.arange(steps) + 0.5) / steps
    return (peak * np.minimum(t / 0.1, (1 - t) / 0.9)).astype("float32")


def soft(log_probabilities, temperature):
    """Return a teacher's probabilities at this temperature."""
    powers = np.exp(log_probabilities / temperature)
    return (powers / powers.sum(axis=1, keepdims=True)).astype("float32")


@functools.cache
def said(name):
    """Return a teacher's logarithms of probabilities for the first training images."""
    # Beside this file in the repository, of which a worker has the package; the script itself was sent to it.
    with np.load(Path(imagebook.__file__).parent.parent / "experiments" / "edge_teacher.npz") as file:
        return -0.1 * file[name].astype("float32")


@functools.cache
def hard():
    return np.eye(10, dtype="float32")[pictures()[1]]


@functools.lru_cache(maxsize=3)
def shrinker(maps, pool):
    return Shrinker(maps, pool)


@functools.cache
def trained(architecture, seed, steps):
    """Return the weights of a network after so many steps, with labels, on 6,144 images."""
    network = shrinker(*architecture)
    network.reset(seed, hard())
    network.train(np.random.default_rng([seed, 1]), steps, PEAK)
    return network.model.get_weights()


def begin(architecture, seed, steps):
    """Return the shrinker with a network in it that has been trained for so many steps."""
    network = shrinker(*architecture)
    weights = trained(architecture, seed, steps)
    network.reset(seed, hard())
    network.model.set_weights(weights)
    return network


def slimmed(weights, maps):
    """Return the weights of a network that keeps only its strongest maps: those with the largest sums of |weight|."""
    k1, b1, k2, b2, k3, b3 = weights
    first = np.sort(np.argsort(-np.abs(k1).sum(axis=(0, 1, 2)))[:maps[0]])
    second = np.sort(np.argsort(-np.abs(k2).sum(axis=(0, 1, 2)))[:maps[1]])
    dense = k3.reshape(5, 5, -1, 10)[:, :, second].reshape(-1, 10)
    return [k1[..., first], b1[first], k2[:, :, first][..., second], b2[second], dense, b3]


def run(settings):
    method, level, count, seed = (settings[name] for name in ("method", "level", "images", "seed"))
    numbers = np.random.default_rng([seed, 2])
    tiny, kind = method.startswith("tiny"), method.removeprefix("tiny ")
    if kind in ("labels", "smooth", "teacher", "peer"):
        learner = shrinker(*(TINY if tiny else SMALL))
        if kind in ("labels", "smooth"):
            targets = (1 - level) * hard() + level / 10
        else:
            targets = soft(said("teacher" if kind == "teacher" else f"peer_{count}"), level)
        learner.reset(seed, targets[:count], level if kind in ("teacher", "peer") else 1.0)
        learner.train(np.random.default_rng([seed, 1]), STEPS, PEAK, count)
    elif method in DENSE:
        learner = shrinker(DENSE[method][level], 2 if method == "narrow" else 5)
        learner.reset(seed, hard())
        learner.train(np.random.default_rng([seed, 1]), STEPS, PEAK)
    elif method.startswith("maps"):
        maps, rest = KEPT[level], TUNING if method == "maps, tuned" else 0
        weights = trained(SMALL, seed, STEPS - rest)
        learner = shrinker(maps, 2)
        learner.reset(seed, hard())
        if method == "maps, fresh":
            learner.train(np.random.default_rng([seed, 1]), STEPS, PEAK)
        else:
            learner.model.set_weights(slimmed(weights, maps))
            if rest:
                learner.train(numbers, rest, PEAK_TUNING)
    elif method.endswith("bits") and method != "trained bits":
        learner = begin(SMALL, seed, STEPS)
        if method == "tensor bits":
            for variable in learner.model.trainable_variables:
                if len(variable.shape) > 1:
                    variable.assign(rounded(variable, 2 ** (level - 1) - 1, per_channel=False))
        else:
            learner.round_to(level, fit=method == "clipped bits")
    elif method in ("trained bits", "trained, clipped"):
        learner = begin(SMALL, seed, STEPS - TUNING)
        learner.round_to(level, fit=method == "trained, clipped")
        learner.train(numbers, TUNING, PEAK_TUNING)
    elif method == "together":
        learner = shrinker(DENSE["pooled"][level], 5)
        learner.reset(seed, soft(said("teacher"), 4)[:6144], 4.0)
        learner.train(np.random.default_rng([seed, 1]), STEPS - TUNING, PEAK)
        learner.round_to(4, fit=True)
        learner.train(numbers, TUNING, PEAK_TUNING)
    else:
        learner = pruned(method, level, seed, numbers)
    return learner.record()


def pruned(method, sparsity, seed, numbers):
    """Return a shrinker with a network whose smallest weights, or others, were taken away."""
    if method == "cut":
        learner = begin(SMALL, seed, STEPS)
        learner.prune(sparsity)
        return learner
    if method == "fresh":  # the mask of a trained network on first weights that know nothing of it
        weights = [weight for weight in trained(SMALL, seed, STEPS) if weight.ndim > 1]
        learner = shrinker(*SMALL)
        learner.reset(seed + 1000, hard())
        learner.prune(sparsity, weights)
        learner.train(np.random.default_rng([seed, 1]), STEPS, PEAK)
        return learner
    learner = begin(WIDE if method == "wide" else SMALL, seed, STEPS - TUNING)
    if method == "random":
        shapes = [variable.shape for variable in learner.model.trainable_variables if len(variable.shape) > 1]
        learner.prune(sparsity, [numbers.random(shape) for shape in shapes])
    elif method == "cut, tuned":
        learner.prune(sparsity)
    if method in ("random", "cut, tuned"):
        learner.train(numbers, TUNING, PEAK_TUNING)
        return learner
    if method == "wide":  # until it keeps as many weights as the small network of that sparsity
        kernels = sum(np.prod(v.shape) for v in learner.model.trainable_variables if len(v.shape) > 1)
        sparsity = 1 - (5352 * (1 - sparsity) - 24) / kernels  # it has 24 biases more, which are kept
    # Gradual: sixteen cuts in the first two thirds, large at first and ever smaller (Zhu and Gupta, 2017).
    rates, per_pass, pieces = triangle(TUNING, PEAK_TUNING), 96, 24
    orders = np.concatenate([numbers.permutation(6144) for _ in range(TUNING // per_pass)]).reshape(TUNING, BATCH)
    for piece, (batches, part) in enumerate(zip(np.split(orders.astype("int32"), pieces), np.split(rates, pieces))):
        if piece < 16:
            learner.prune(sparsity * (1 - (1 - (piece + 1) / 16) ** 3))
        learner.epoch(batches, part)
    return learner


def group(settings):
    """Runs with the same compiled network stand together."""
    method, level = settings["method"], settings["level"]
    if method == "together":
        return f"pooled {level}"
    return f"{method} {level}" if method in DENSE or method.startswith("maps") else method.split()[0] if method.startswith(("tiny", "wide")) else ""


STUDY = Study(
    __file__, run,
    {"method": list(PLAN), "level": sorted({level for pairs in PLAN.values() for level, _ in pairs}), "images": IMAGES},
    seeds=5,
    fixed={"batch_size": BATCH, "steps": STEPS, "of_which_tuning": TUNING, "optimizer": "Adam", "peak": PEAK,
           "peak_tuning": PEAK_TUNING, "schedule": "up for a tenth, then down, in straight lines"},
    about="the small network pruned, rounded and taught, at equal steps",
    group=group,
    where=lambda settings: (settings["level"], settings["images"]) in PLAN[settings["method"]],
)

if __name__ == "__main__":
    STUDY.main()
