"""Train the article's network and store it for the drawing pad: imagebook/files/digit_pad.npz.

    python experiments/digit_pad.py          about 5 minutes on two cores

The network and the preparation of the data are those of the article's program. The optimizer is Adadelta with the
learning rate 1.0 of its paper; Keras's default, 0.001, is the program's and would need hundreds of epochs. The last
10,000 training images are kept for validation, and the best of 5 epochs by validation accuracy is stored. The test
set is used once, at the end. A run with the same seed on the same processor gives the same file.

Also writes tests/digit_pad_reference.npz: the float network's probabilities for the first 1,000 test digits, with
which the tests compare the network of 8-bit weights.
"""
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from imagebook import load_mnist
from imagebook.records import write_arrays
from imagebook.widgets.digit_pad import DIGIT_PAD, LAYERS

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "tests" / "digit_pad_reference.npz"
SEED, EPOCHS, VALIDATION, THREADS = 0, 5, 10_000, 2
# In the test set: a plain 0, 1, 2 ... 9, then two fours over which a person hesitates too.
SAMPLES = [3, 2, 1, 18, 4, 15, 11, 0, 61, 7, 247, 2130]


def article_program():
    """Run the article's program up to where it compiles; return its names: the model and the prepared data."""
    keras.datasets.mnist.load_data = load_mnist  # the same arrays, without a network
    source = (HERE / "article_program.py").read_text(encoding="utf-8")
    names = {}
    exec(source.split("model.compile(")[0], names)
    return names


def quantise(kernel):
    """Return a kernel as int8, and its scales, float32, one an output: `kernel` is about `int8 * scales`."""
    scales = np.abs(kernel).reshape(-1, kernel.shape[-1]).max(axis=0) / 127
    scales[scales == 0] = 1
    return np.round(kernel / scales).astype(np.int8), scales


def main(epochs=EPOCHS):
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(SEED)
    program = article_program()
    model, x, y = program["model"], program["x_train"], program["y_train"]
    model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.Adadelta(1.0), metrics=["accuracy"])
    best = keras.callbacks.EarlyStopping("val_accuracy", mode="max", patience=epochs, restore_best_weights=True)
    model.fit(
        x[:-VALIDATION], y[:-VALIDATION], batch_size=128, epochs=epochs, verbose=2, callbacks=[best],
        validation_data=(x[-VALIDATION:], y[-VALIDATION:]),
    )
    (_, _), (images, labels) = load_mnist()
    exact = model.predict(program["x_test"], verbose=0)
    layers = [layer for layer in model.layers if layer.weights]
    weights = [layer.get_weights() for layer in layers]
    assert tuple(kernel.shape for kernel, _ in weights) == LAYERS
    kernels, scales = zip(*(quantise(kernel) for kernel, _ in weights))
    biases = [bias for _, bias in weights]
    for layer, kernel, scale, bias in zip(layers, kernels, scales, biases):
        layer.set_weights([kernel * scale, bias])
    rounded = model.predict(program["x_test"], verbose=0)
    for name, answers in (("float", exact), ("int8", rounded)):
        print(f"test accuracy, {name} weights: {np.mean(answers.argmax(axis=1) == labels):.4f}")
    print(f"largest difference of a probability: {np.abs(exact - rounded).max():.4f}")
    write_arrays(
        DIGIT_PAD,
        scales=np.concatenate(scales).astype("<f4"),
        biases=np.concatenate(biases).astype("<f4"),
        **{f"kernel_{number}": kernel for number, kernel in enumerate(kernels)},
        samples=images[SAMPLES],
        sample_labels=labels[SAMPLES],
        sample_indices=np.array(SAMPLES, "<u2"),
    )
    write_arrays(REFERENCE, probabilities=exact[:1000])


if __name__ == "__main__":
    main()
