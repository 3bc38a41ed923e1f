"""Kernels of 1 to 9 pixels in one small CNN, at equal cost, on digits of two sizes: experiments/kernel_size.jsonl.

    python experiments/kernel_size.py --workers 2

Two blocks, each of convolutions and a max pooling, then a head. What a block holds is the question; how many maps it
has follows from what is held equal: the parameters of the blocks, or their multiply–accumulates. "3+3" and "3+3+3" are
stacks of 3×3 kernels, which see as far as one of 5×5 and of 7×7. See chapter `kernel-size`.
"""
import functools

import keras
import numpy as np
from keras import layers

from imagebook.studies import Study, Trainer, load_split

EPOCHS, BATCH_SIZE = 6, 64
BLOCKS = {"1": [1], "3": [3], "5": [5], "7": [7], "9": [9], "3+3": [3, 3], "3+3+3": [3, 3, 3]}
# What is held equal, on images of 28 × 28: the same network also reads those of 56 × 56, at four times the products.
EQUAL = {"parameters": 2_000, "products": 400_000, "maps": (6, 12)}
HEADS = ["averaged", "flattened"]
SIZES = [28, 56]
RATES = {"averaged": [0.005, 0.0125, 0.03], "flattened": [0.002, 0.005, 0.0125, 0.03]}
STEPS = EPOCHS * (6144 // BATCH_SIZE)
DECAY = 1 - np.arange(STEPS) / STEPS  # every rate falls along a line to zero, so that no run ends in mid-jump


def costs(block, maps, size=28):
    """Return the parameters and the multiply–accumulates of the two blocks; `maps` has one number for each."""
    parameters = products = 0
    channels = 1
    for number, width in zip(maps, (size, size // 2)):  # a pooling lies between
        for kernel_size in BLOCKS[block]:
            weights = kernel_size**2 * channels * number
            parameters += weights + number
            products += weights * width**2
            channels = number
    return parameters, products


@functools.lru_cache(maxsize=None)
def numbers_of_maps(block, equal):
    """Return how many maps each block has: within 5 % of what is held equal, the second as nearly twice the first as can be."""
    if equal == "maps":
        return EQUAL[equal]
    which, target = list(EQUAL).index(equal), EQUAL[equal]
    pairs = [(first, second) for first in range(1, 80) for second in range(1, 160)]
    near = [maps for maps in pairs if abs(costs(block, maps)[which] / target - 1) <= 0.05]
    return min(near, key=lambda maps: abs(np.log(maps[1] / maps[0] / 2)))


@functools.cache
def images_of(size):
    """Return the three sets of `load_split`, at twice the resolution if size is 56 (bilinear interpolation)."""
    import tensorflow as tf

    def enlarge(images):
        large = tf.image.resize(tf.constant(images), (size, size), method="bilinear")
        return tf.cast(tf.round(large), tf.uint8).numpy()

    return tuple((images if size == 28 else enlarge(images), labels) for images, labels in load_split())


@functools.lru_cache(maxsize=2)  # compiled networks; runs of a group use the same
def trainer(block, maps, head, size):
    keras.backend.clear_session()
    stack = []
    for number in maps:
        stack += [
            layers.Conv2D(number, width, padding="same", activation="relu", kernel_initializer="he_uniform")
            for width in BLOCKS[block]]
        stack.append(layers.MaxPooling2D())
    last = layers.GlobalAveragePooling2D() if head == "averaged" else layers.Flatten()
    model = keras.Sequential([keras.Input((size, size, 1)), layers.Rescaling(1 / 255), *stack, last, layers.Dense(10)])
    return Trainer(model, keras.optimizers.Adam(), images_of(size))


def run(settings):
    maps = numbers_of_maps(settings["block"], settings["equal"])
    trained = trainer(settings["block"], maps, settings["head"], settings["size"])
    record = trained.run(
        seed=settings["seed"], rates=settings["learning_rate"] * DECAY, epochs=EPOCHS, batch_size=BATCH_SIZE)
    return {**record, "maps": list(maps), "block_parameters": costs(settings["block"], maps)[0]}


def exists(settings):
    """Which combinations are run; those on large images cost four times as much, so fewer questions are asked there."""
    block, equal, head, size = (settings[name] for name in ("block", "equal", "head", "size"))
    if size == 56:
        return equal == "parameters" and "+" not in block and settings["learning_rate"] in RATES[head][:3]
    return settings["learning_rate"] in RATES[head] and (equal != "maps" or head == "averaged")


STUDY = Study(
    __file__, run, factors={
        "block": list(BLOCKS), "equal": list(EQUAL), "head": HEADS, "size": SIZES,
        "learning_rate": sorted({rate for rates in RATES.values() for rate in rates})}, seeds=3,
    fixed={
        "model": "two blocks, each of same-padded convolutions with ReLU and a max pooling 2×2; head; dense 10",
        "equal": EQUAL,
        "maps": {equal: {block: numbers_of_maps(block, equal) for block in BLOCKS} for equal in EQUAL},
        "epochs": EPOCHS, "batch_size": BATCH_SIZE, "optimizer": "Adam, beta 0.9, 0.999, epsilon 1e-7",
        "first_weights": "he_uniform in the blocks, glorot_uniform in the last layer",
        "schedule": "from the learning rate along a line to zero",
        "images": "6,144; those of 56 × 56 are the same, enlarged (bilinear)",
    },
    about="kernels of 1 to 9 pixels and stacks of 3×3 at equal cost, two heads, digits of two sizes",
    group=lambda settings: (settings["block"], settings["equal"], settings["head"], settings["size"]), where=exists)

if __name__ == "__main__":
    STUDY.main()
