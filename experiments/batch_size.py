"""One small CNN, batches of 8 to 2,048 images, each size at its own learning rates: experiments/batch_size.jsonl.

    python experiments/batch_size.py --workers 2

Five plans. "images": every run sees 8 × 6,144 images, so large batches take few steps. "steps": every run takes 768
steps, so large batches see many images (for batches of 64 that is the same as "images"). "rate falls" and "batch
grows": two ways to calm the same walk, from batches of 32. "warm-up": as "images", but the rate grows at first.
Runs with the same seed begin with the same weights. See chapter `batch-size`.
"""
import functools
import time

import keras
import numpy as np

from imagebook.studies import Study, Trainer, multiply_accumulates, short, small_network

IMAGES, EPOCHS, STEPS = 6144, 8, 768
RATES = [2.0**power for power in range(-13, 0)]
OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(),
}
# The exponents of 2 of the least and the greatest rate for each batch size; the best one must lie inside.
RANGES = {
    "images": {
        "SGD": {8: (-10, -6), 16: (-9, -5), 32: (-8, -4), 64: (-8, -3), 128: (-7, -2), 256: (-6, -2), 512: (-6, -2),
                1024: (-7, -2), 2048: (-6, -2)},
        "Adam": {8: (-11, -7), 16: (-11, -7), 32: (-11, -6), 64: (-10, -6), 128: (-9, -5), 256: (-8, -4),
                 512: (-8, -4), 1024: (-8, -4), 2048: (-8, -4)},
    },
    "steps": {
        "SGD": {128: (-7, -3), 256: (-6, -3), 512: (-6, -3)},
        "Adam": {128: (-9, -6), 256: (-8, -5), 512: (-8, -5)},
    },
    "rate falls": {"SGD": {32: (-7, -3)}},
    "batch grows": {"SGD": {32: (-7, -3)}},
    "warm-up": {"SGD": {1024: (-6, -2), 2048: (-6, -2)}},
}
CALM = [1, 1, 1, 1, 2, 4, 8, 16]  # epoch by epoch, what divides the rate, or multiplies the batch
WARM = 2  # epochs in which the rate grows from nothing, in a straight line
NOISE_AT = {"plan": "images", "optimizer": "SGD", "batch_size": 64, "learning_rate": 2.0**-6}


@functools.lru_cache(maxsize=2)  # compiled networks; runs of a group use the same
def trainer(optimizer):
    return Trainer(small_network(), OPTIMIZERS[optimizer]())


@functools.lru_cache(maxsize=2)
def noise_meter(optimizer, chunk=32, curved=1024, directions=12):
    """Return a function that measures the gradient and its noise at the network's present weights.

    It gives [|g|², tr Σ, g·Hg, tr HΣ]: g is the gradient of all training images, Σ the covariance of the gradients of
    single images, H the matrix of second derivatives of the loss on the first `curved` images. Σ comes from the mean
    gradients of chunks of 32 images; they are drawn without replacement, which the last factor corrects for.
    """
    import tensorflow as tf

    trained = trainer(optimizer)
    variables = [variable.value for variable in trained.model.trainable_variables]
    sizes = [variable.shape.num_elements() for variable in variables]

    def flat(tensors):
        return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)

    def gradient(images, labels):
        with tf.GradientTape() as tape:
            logits = trained.model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return flat(tape.gradient(loss, variables))

    @tf.function
    def chunk_gradients():
        starts = tf.range(0, IMAGES, chunk)
        return tf.map_fn(lambda start: gradient(
            trained.images[start:start + chunk], trained.labels[start:start + chunk]), starts, fn_output_signature=tf.float32)

    @tf.function
    def bend(vector):
        """Return v·Hv."""
        parts = [tf.reshape(part, v.shape) for part, v in zip(tf.split(vector, sizes), variables)]
        with tf.autodiff.ForwardAccumulator(variables, parts) as accumulator:
            slope = gradient(trained.images[:curved], trained.labels[:curved])
        return tf.tensordot(vector, accumulator.jvp(slope), 1)

    def measure():
        gradients = chunk_gradients().numpy().astype("float64")
        mean = gradients.mean(axis=0)
        away = gradients - mean
        factor = chunk * (IMAGES - 1) / (IMAGES - chunk)
        curvature = float(bend(tf.constant(mean, tf.float32)))
        noise = [float(bend(tf.constant(v, tf.float32))) for v in away[::len(away) // directions]]
        values = mean @ mean, factor * np.mean(np.sum(away**2, axis=1)), curvature, factor * np.mean(noise)
        return [short(value) for value in values]

    return measure


def schedule(plan, batch_size, learning_rate):
    """Return the training as eight stages: for each its batch size, its rate or rates, the passes through the images."""
    if plan == "steps":
        passes = STEPS * batch_size // IMAGES
        return [(batch_size, learning_rate, passes // 8)] * 8
    if plan == "rate falls":
        return [(batch_size, learning_rate / factor, 1) for factor in CALM]
    if plan == "batch grows":
        return [(batch_size * factor, learning_rate, 1) for factor in CALM]
    if plan == "warm-up":
        steps = IMAGES // batch_size
        rates = learning_rate * np.minimum(1, (np.arange(EPOCHS * steps) + 1) / (WARM * steps))
        return [(batch_size, part, 1) for part in np.split(rates, EPOCHS)]
    return [(batch_size, learning_rate, 1)] * EPOCHS


def fit(trained, seed, stages, look):
    """Train by these stages; return curves with one number a stage, a trace of the loss, and what look() saw.

    The trace: [steps, images, loss on the first 1,024 validation images], at steps a third of an octave apart.
    """
    numbers = np.random.default_rng([seed, 1])
    checkpoints = {round(2 ** (power / 3)) for power in range(60)}
    images, labels = (part[:1024] for part in trained.validation)
    curves = {name: [] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    trace, seen, done, shown, seconds = [], [look()], 0, 0, 0.0
    for batch_size, rate, passes in stages:
        order = np.concatenate([numbers.permutation(IMAGES) for _ in range(passes)])
        order = order.reshape(-1, batch_size).astype("int32")
        stops = [step for step in range(1, len(order) + 1)
                 if done + step in checkpoints and shown + step * batch_size >= 512]
        rates = np.broadcast_to(np.asarray(rate, "float32"), len(order))
        sums, cuts = np.zeros(2), [stop for stop in stops if stop < len(order)]
        for piece, piece_rates in zip(np.split(order, cuts), np.split(rates, cuts)):
            started = time.process_time()
            means = [float(value) for value in trained.epoch(piece, piece_rates)]
            seconds += time.process_time() - started
            sums += len(piece) * np.array(means)
            done, shown = done + len(piece), shown + piece.size
            if done in checkpoints and shown >= 512:
                trace.append([done, shown, short(trained.evaluate(images, labels)[0])])
        for name, value in zip(curves, [*sums / len(order), *trained.evaluate(*trained.validation)]):
            curves[name].append(short(value))
        seen.append(look())
    return {**curves, "cpu_seconds": round(seconds, 3), "steps": done, "images": shown, "trace": trace}, seen


def run(settings):
    trained = trainer(settings["optimizer"])
    noisy = all(settings[name] == value for name, value in NOISE_AT.items())
    look = noise_meter(settings["optimizer"]) if noisy else lambda: None
    trained.start(settings["seed"])
    stages = schedule(settings["plan"], settings["batch_size"], settings["learning_rate"])
    record, seen = fit(trained, settings["seed"], stages, look)
    _, accuracy = trained.evaluate(*trained.test)
    record |= {"test_accuracy": short(accuracy), "parameters": trained.model.count_params(),
               "multiply_accumulates": multiply_accumulates(trained.model)}
    return {**record, "noise": seen} if noisy else record


def exists(settings):
    sizes = RANGES[settings["plan"]].get(settings["optimizer"], {})
    least, most = sizes.get(settings["batch_size"], (0, -1))
    return 2.0**least <= settings["learning_rate"] <= 2.0**most and most > least


STUDY = Study(
    __file__, run, factors={
        "plan": list(RANGES), "optimizer": list(OPTIMIZERS), "batch_size": list(RANGES["images"]["SGD"]),
        "learning_rate": RATES}, seeds=5,
    fixed={
        "model": "conv 5×5 stride 2, 8 maps, ReLU; conv 3×3, 16 maps, ReLU; max pooling 2×2; dense 10",
        "images": IMAGES, "epochs of images": EPOCHS, "steps of steps": STEPS,
        "rate falls, batch grows": CALM, "warm-up": f"{WARM} epochs", "schedule": "none otherwise",
        "SGD": "momentum 0.9", "Adam": "beta 0.9, 0.999, epsilon 1e-7",
        "noise": NOISE_AT,
    },
    about="a small CNN on 6,144 digits, batches of 8 to 2,048, each at its own learning rates",
    group=lambda settings: settings["optimizer"], where=exists)

if __name__ == "__main__":
    STUDY.main()
