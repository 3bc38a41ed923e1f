"""One small CNN, 100 to 55,904 digits, fifteen ways to alter them while it trains: experiments/augmentation.jsonl.

    python experiments/augmentation.py --workers 2

Every run takes the same number of steps with batches of 64, whatever it is shown. A seed draws the training images, the
first weights, the order of the images and their alterations; runs with the same seed and number of images see the same
images in the same order. All strengths were recorded with 1,600 images, the one with the best validation accuracy at the
other sizes, and of the two best methods all strengths with all images, too. With 6,400 images a run is also examined on
digits that are shifted and turned, and its confusions are written down; two of the augmentations are tried at test time,
too. See chapter `augmentation`.
"""
import functools
import time

import keras
import numpy as np
from keras import layers, ops
from scipy import ndimage, special

from imagebook import load_mnist
from imagebook.studies import Study, Trainer, load_split, short, small_network

STEPS, BATCH_SIZE, RATE, STAGES = 1600, 64, 0.008, 8
SIZES = [100, 1600, 6400, 55_904]
SIZES_ALONE = [100 * 2**power for power in range(9)] + [55_904]  # without augmentation: a ruler for the others
TUNED = 1600  # the number of images with which all strengths were tried
EXAMINED = 6400  # the number with which a network is asked more than its accuracy
ANGLES = [5, 10, 15, 20, 30, 45, 60, 90, 135, 180]
# For each augmentation the strengths that were tried, and the one that was chosen on the validation images.
STRENGTHS = {
    "none": ([0], 0),
    "crop": ([1, 2, 3], 2),  # pixels, both ways
    "flip": ([1], 1),  # left to right, every second image
    "rotation": (ANGLES, 15),  # degrees, to both sides
    "zoom": ([0.1, 0.2, 0.3, 0.4], 0.3),  # share of the size, both ways
    "shear": ([0.15, 0.3, 0.5, 0.8], 0.3),  # columns a row, both ways
    "elastic": ([0.5, 1, 1.5, 2], 1.5),  # pixels, root mean square of each coordinate
    "all": ([0.5, 1, 1.5, 2], 1.5),  # times ALL
    "noise": ([0.1, 0.2, 0.4], 0.4),  # standard deviation, white being 1
    "cutout": ([0.05, 0.15, 0.3], 0.05),  # share of the image
    "mixup": ([0.1, 0.3, 1], 0.1),  # both parameters of the beta distribution
    "cutmix": ([0.1, 0.3, 1], 0.1),
    "cutmix, ink": ([0.1, 0.3, 1], 0.3),  # labels by ink, not by area
    "randaugment": ([0.1, 0.3, 0.5], 0.1),  # Keras's factor; 0.5 is its default
    "upside down": ([1], 1),
    "half turn": ([1], 1),
}
ALL = {"turn": 10, "scale": 0.1, "shear": 0.15, "shift": 1.5, "bend": 0.7}
AGAIN = ("elastic", "all")  # all strengths were recorded with all images, too: the best one may be a milder one
LIES = ("flip", "upside down", "half turn")
VIEWS, VIEWED = 16, ("none", "crop", "all")
SHIFTS, TURNS = [1, 2, 3, 4, 5, 6], [10, 20, 30, 45, 60, 90, 135, 180]
DIRECTIONS = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)]


def fetch(images, rows, columns):
    """Return images whose pixels are fetched from these places, (n, 784) each, in the old ones; outside is black."""
    import tensorflow as tf

    rows, columns = (ops.clip(places, -1, 27.99) + 1 for places in (rows, columns))
    padded = tf.reshape(tf.pad(tf.cast(images[..., 0], tf.float32), [[0, 0], [1, 2], [1, 2]]), [-1])
    i, j = ops.floor(rows), ops.floor(columns)
    first = ops.cast(31 * i + j, "int32") + 31 * 31 * tf.range(tf.shape(images)[0])[:, None]
    corner = [tf.gather(padded, first + step) for step in (0, 1, 31, 32)]
    down, right = rows - i, columns - j
    above = corner[0] * (1 - right) + corner[1] * right
    below = corner[2] * (1 - right) + corner[3] * right
    return ops.reshape(above * (1 - down) + below * down, (-1, 28, 28, 1))


def warp(images, chance, turn=0, scale=0, shear=0, shift=0, bend=0):
    """Turn, scale, shear, shift and bend every image by its own random amounts, in one go; see chapter `fast`.

    turn: degrees; scale, shear: numbers; shift: pixels: the most, to both sides. bend: pixels, root mean square.
    chance: a keras.random.SeedGenerator.
    """
    count = ops.shape(images)[0]

    def uniform(most):
        return keras.random.uniform((count, 1), -most, most, seed=chance)

    grid = np.mgrid[:28, :28].reshape(2, 1, 784).astype("float32") - 13.5
    angle, slant = uniform(np.radians(turn)), uniform(shear)
    tall, wide = 1 + uniform(scale), 1 + uniform(scale)
    rows, columns = tall * grid[0], wide * (grid[1] + slant * grid[0])
    rows, columns = (ops.cos(angle) * rows + ops.sin(angle) * columns + uniform(shift) + 13.5,
                     ops.cos(angle) * columns - ops.sin(angle) * rows + uniform(shift) + 13.5)
    if bend:
        knobs = keras.random.normal((count, 5, 5, 2), seed=chance)
        field = ops.reshape(ops.einsum("nabk,ia,jb->nkij", knobs, SPREAD, SPREAD), (-1, 2, 784))
        rows, columns = rows + bend * field[:, 0], columns + bend * field[:, 1]
    return fetch(images, rows, columns)


def spread(points=5, width=0.7):
    """Return how much each knob of a line moves each of 28 pixels, so that the mean square of a pixel's pull is 1."""
    weight = np.exp(-0.5 * ((np.linspace(0, points - 1, 28)[:, None] - np.arange(points)) / width) ** 2)
    return (weight / np.sqrt(np.sum(weight**2, axis=1, keepdims=True))).astype("float32")


SPREAD = spread()


def rand_augment(factor):
    """Return Keras's RandAugment, and the layers that it is made of, as a function: only what was drawn is computed."""
    import tensorflow as tf

    whole = layers.RandAugment(factor=factor)
    parts = [whole.random_shear, whole.random_translation, whole.random_rotation, whole.random_brightness,
             whole.random_color_degeneration, whole.random_contrast, whole.random_sharpness,
             whole.random_posterization, whole.solarization, whole.auto_contrast, whole.equalization]

    def augment(images, chance):
        images = tf.cast(images, tf.float32)
        for _ in range(2):
            drawn = keras.random.randint((), 0, len(parts), seed=chance)
            images = tf.switch_case(drawn, [lambda part=part: part(images, training=True) for part in parts])
            images = tf.ensure_shape(images, [None, 28, 28, 1])
        return images

    return augment, parts


def mix(layer, images, labels, by_ink=False):
    """Return mixed images and labels; by ink, a pixel counts in the label by how bright it is, not by being there."""
    labels = ops.one_hot(labels, 10)
    if not by_ink:
        mixed = layer({"images": images, "labels": labels}, training=True)
        return mixed["images"], mixed["labels"]
    images = ops.cast(images, "float32")
    drawn = layer.get_random_transformation({"images": images, "labels": labels})
    order, masks = drawn["permutation_order"], drawn["batch_masks"]
    others, theirs = ops.take(images, order, axis=0), ops.take(labels, order, axis=0)
    kept, pasted = ops.where(masks, 0.0, images), ops.where(masks, others, 0.0)
    ink = [ops.sum(part, axis=(1, 2)) + 1e-3 for part in (kept, pasted)]
    share = ink[0] / (ink[0] + ink[1])
    return kept + pasted, share * labels + (1 - share) * theirs


def augmentation(name, strength):
    """Return augment(images, labels), and reseed(seed), which sets all its sources of chance."""
    chance = keras.random.SeedGenerator(0)
    zeros = {"fill_mode": "constant"}
    used = []
    if name == "none":
        return None, lambda seed: None
    if name in ("mixup", "cutmix", "cutmix, ink"):
        used = [layers.MixUp(strength) if name == "mixup" else layers.CutMix((strength, strength))]
        augment = functools.partial(mix, used[0], by_ink=name == "cutmix, ink")
    elif name in ("shear", "elastic", "all"):
        amounts = {"shear": {"shear": 1}, "elastic": {"bend": 1}, "all": ALL}[name]
        amounts = {part: amount * strength for part, amount in amounts.items()}
        augment = lambda images, labels: (warp(images, chance, **amounts), labels)
    elif name == "half turn":
        def augment(images, labels):
            coin = keras.random.uniform((ops.shape(images)[0], 1, 1, 1), seed=chance)
            return ops.where(coin < 0.5, images[:, ::-1, ::-1], images), labels
    elif name == "noise":
        used = [layers.GaussianNoise(strength)]
        augment = lambda images, labels: (255 * used[0](ops.cast(images, "float32") / 255, training=True), labels)
    elif name == "randaugment":
        play, used = rand_augment(strength)
        augment = lambda images, labels: (play(images, chance), labels)
    else:
        moved = (strength + 0.5) / 28
        layer = {
            # Whole pixels: of a larger black page another part is cropped.
            "crop": lambda: layers.RandomTranslation(moved, moved, interpolation="nearest", **zeros),
            "flip": lambda: layers.RandomFlip("horizontal"),
            "upside down": lambda: layers.RandomFlip("vertical"),
            "rotation": lambda: layers.RandomRotation(strength / 360, **zeros),
            "zoom": lambda: layers.RandomZoom(strength, **zeros),
            "cutout": lambda: layers.RandomErasing((1.0, 1.0), scale=(strength, strength), fill_value=0),
        }[name]()
        used = [layer]
        augment = lambda images, labels: (layer(ops.cast(images, "float32"), training=True), labels)
    sources = [chance] + [layer.generator if hasattr(layer, "generator") else layer.seed_generator
                          for layer in used if hasattr(layer, "generator") or hasattr(layer, "seed_generator")]

    def reseed(seed):
        """Not by Keras's global seed: on a Dask worker other threads draw from the same generator."""
        for source, number in zip(sources, np.random.default_rng([seed, 3]).integers(2**31, size=len(sources))):
            source.state.assign(np.array([number, 0], source.state.dtype))

    return augment, reseed


@functools.cache
def load_pool():
    """Return `load_split()`, with all of MNIST's training images but its validation images to train on: 55,904."""
    (x, y), _ = load_mnist()
    _, validation, test = load_split()
    order = np.random.default_rng(0).permutation(len(x))  # as load_split() does
    order = np.concatenate([order[:6144], order[6144 + 4096:]])
    return (x[order, ..., None], y[order].astype("int32")), validation, test


@functools.lru_cache(maxsize=2)  # compiled networks; runs of a group use the same
def trainer(name, strength):
    augment, reseed = augmentation(name, strength)
    return Trainer(small_network(), keras.optimizers.Adam(), load_pool(), augment), reseed


@functools.cache
def moved_tests(images=5000):
    """Return every second test image, shifted by SHIFTS in eight directions and turned by TURNS to either side."""
    _, _, (x, y) = load_split()
    x, y = x[::2, ..., 0], y[::2]
    shifted, turned = np.zeros((len(SHIFTS), *x.shape), "uint8"), np.zeros((len(TURNS), *x.shape), "uint8")
    for number, image in enumerate(x):
        a, b = DIRECTIONS[number % 8]
        page = np.pad(image, 8)
        for place, pixels in enumerate(SHIFTS):
            shifted[place, number] = page[8 - a * pixels:36 - a * pixels, 8 - b * pixels:36 - b * pixels]
        for place, degrees in enumerate(TURNS):
            sign = 1 if number % 2 else -1
            turned[place, number] = ndimage.rotate(image.astype(float), sign * degrees, reshape=False, order=1).round()
    return shifted[..., None], turned[..., None], y


def logits(model, images, many=1000):
    return np.concatenate([model(images[first:first + many], training=False) for first in range(0, len(images), many)])


def calibration(z, labels, bins=15):
    """Return mean confidence, calibration error in 15 bins and log loss; see chapter `generalisation`."""
    log_p = special.log_softmax(z.astype(float), axis=1)
    confidence, right = np.exp(log_p.max(axis=1)), z.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    error = np.abs(np.bincount(place, right - confidence, bins)).sum() / len(z)
    return {"confidence": short(confidence.mean()), "calibration_error": short(error),
            "test_loss": short(-log_p[np.arange(len(z)), labels].mean())}


def views(trained, alter, labels, images):
    """Return accuracy and log loss of the images (0 views) and of the mean of 1, 2, 4, 8, 16 altered views.

    And the mean loss of single views.
    """
    z = logits(trained.model, images)
    found = [[0, short(np.mean(z.argmax(axis=1) == labels)), calibration(z, labels)["test_loss"]]]
    total, alone = 0, []
    for count in range(1, VIEWS + 1):
        altered = np.concatenate([alter(images[k:k + 1000], labels[k:k + 1000])[0] for k in range(0, len(images), 1000)])
        p = special.softmax(logits(trained.model, altered).astype(float), axis=1)
        total = total + p
        alone.append(-np.log(p[np.arange(len(p)), labels]).mean())
        if count & (count - 1) == 0:
            mean = total / count
            found.append([count, short(np.mean(mean.argmax(axis=1) == labels)),
                          short(-np.log(mean[np.arange(len(p)), labels]).mean())])
    return {"views": found, "single_view_loss": short(np.mean(alone))}


def fit(trained, seed, count, steps):
    """Train on `count` images for `steps` steps, with a rate that falls in a straight line; return curves of 8 stages."""
    chosen = np.random.default_rng([seed, 2]).permutation(len(trained.images))[:count]
    numbers = np.random.default_rng([seed, 1])
    passes = -(-steps * BATCH_SIZE // count)
    order = np.concatenate([numbers.permutation(chosen) for _ in range(passes)])[:steps * BATCH_SIZE]
    order = order.reshape(STAGES, -1, BATCH_SIZE).astype("int32")
    rates = (RATE * (1 - np.arange(steps) / steps)).reshape(STAGES, -1).astype("float32")
    curves = {name: [] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    seconds = 0.0
    for batches, stage_rates in zip(order, rates):
        started = time.process_time()
        trained_on = [float(value) for value in trained.epoch(batches, stage_rates)]
        seconds += time.process_time() - started
        for name, value in zip(curves, [*trained_on, *trained.evaluate(*trained.validation)]):
            curves[name].append(short(value))
    return {**curves, "cpu_seconds": round(seconds, 3)}


def run(settings):
    name, strength, seed = settings["augmentation"], settings["strength"], settings["seed"]
    trained, reseed = trainer(name, strength)
    trained.start(seed)
    reseed(seed)
    record = fit(trained, seed, settings["images"], settings["steps"])
    images, labels = trained.test
    z = logits(trained.model, images)
    record |= {"test_accuracy": short(np.mean(z.argmax(axis=1) == labels)), **calibration(z, labels)}
    if settings["images"] != EXAMINED or settings["steps"] != STEPS:
        return record
    shifted, turned, some = moved_tests()
    for key, tests in (("shifted", shifted), ("turned", turned)):
        record[key] = [short(np.mean(logits(trained.model, moved).argmax(axis=1) == some)) for moved in tests]
    record["confusion"] = np.bincount(10 * labels + z.argmax(axis=1), minlength=100).tolist()
    if name in VIEWED and strength == STRENGTHS[name][1]:
        alter, again = (trained.augment, reseed) if trained.augment else augmentation("crop", 1)
        again(1000 + seed)
        record |= views(trained, alter, labels[::2], images[::2])
    return record


def exists(settings):
    name, strength, count, steps = (settings[key] for key in ("augmentation", "strength", "images", "steps"))
    tried, chosen = STRENGTHS[name]
    if strength not in tried:
        return False
    if steps != STEPS:  # the budget: shorter and longer trainings
        return name in ("none", "all") and strength == chosen and count in (1600, 55_904)
    if name == "none":
        return count in SIZES_ALONE
    if name in LIES[1:]:
        return count == EXAMINED
    if name == "rotation":
        return count == EXAMINED or (count == TUNED and strength <= 45) or (strength == chosen and count in SIZES)
    return count == TUNED or (strength == chosen and count in SIZES) or (name in AGAIN and count == SIZES[-1])


STUDY = Study(
    __file__, run, factors={
        "augmentation": list(STRENGTHS), "strength": sorted({value for tried, _ in STRENGTHS.values() for value in tried}),
        "images": SIZES_ALONE, "steps": [STEPS // 4, STEPS, 3 * STEPS]}, seeds=3,
    fixed={
        "model": "conv 5×5 stride 2, 8 maps, ReLU; conv 3×3, 16 maps, ReLU; max pooling 2×2; dense 10",
        "optimizer": f"Adam, beta 0.9, 0.999, epsilon 1e-7; rate {RATE}, falling to 0 in a straight line",
        "batch_size": BATCH_SIZE, "all": ALL, "shifts": SHIFTS, "turns": TURNS, "views": VIEWS,
    },
    about="a small CNN on 100 to 55,904 digits, altered in fifteen ways while it trains",
    group=lambda settings: (settings["augmentation"], settings["strength"]), where=exists)

if __name__ == "__main__":
    STUDY.main()
