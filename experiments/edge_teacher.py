"""What teachers say of the training images of experiments/edge.py: experiments/edge_teacher.npz and .json.

    python experiments/edge_teacher.py          about three minutes of one processor

Four teachers, all of them the article's network (1,199,882 parameters). "teacher" is the one in the page, of
imagebook/files/digit_pad.npz, which was trained on 50,000 images. "peer_384", "peer_1536" and "peer_6144" are trained
here, on as many images as their students have, and on the same ones. Stored are logarithms of probabilities, in steps
of 0.1 downwards, as bytes. See chapter `edge`.
"""
import json
import os
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(name, "1")

import keras
import numpy as np

from imagebook import load_mnist
from imagebook.records import replacing, write_arrays
from imagebook.studies import article_network, load_split, provenance, short
from imagebook.widgets.digit_pad import DIGIT_PAD

HERE = Path(__file__).parent
PASSES = {384: 60, 1536: 24, 6144: 10}
MOST = 24576  # images for which the first teacher speaks


def page_weights():
    """Return the weights of the network in the page, as Keras lists them, float32."""
    with np.load(DIGIT_PAD) as file:
        kernels = [file[f"kernel_{number}"] for number in range(4)]
        ends = np.cumsum([kernel.shape[-1] for kernel in kernels])[:-1]
        scales, biases = np.split(file["scales"], ends), np.split(file["biases"], ends)
    return [array for kernel, scale, bias in zip(kernels, scales, biases) for array in (kernel * scale, bias)]


def pictures():
    """Return the training images and labels, in the order of experiments/edge.py."""
    (images, labels), *_ = load_split()
    (more, more_labels), _ = load_mnist()
    order = np.random.default_rng(0).permutation(60_000)[10240:10240 + MOST - 6144]
    return np.concatenate([images, more[order, ..., None]]), np.concatenate([labels, more_labels[order]])


def main():
    images, labels = pictures()
    _, _, (test, test_labels) = load_split()
    said, entries = {}, []
    for name, count in [("teacher", MOST), *((f"peer_{count}", count) for count in PASSES)]:
        keras.utils.set_random_seed(count)
        started, model = time.process_time(), article_network()
        if name == "teacher":
            model.set_weights(page_weights())
        else:
            model.compile(keras.optimizers.Adam(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
            model.fit(images[:count], labels[:count], batch_size=64, epochs=PASSES[count], verbose=0)
        logits = model.predict(images[:count], batch_size=256, verbose=0).astype(float)
        logarithms = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True)) - logits.max(1, keepdims=True)
        said[name] = np.clip(np.round(-10 * logarithms), 0, 255).astype(np.uint8)
        read = model.predict(test, batch_size=256, verbose=0).argmax(1) == test_labels
        entries.append({
            "teacher": name, "images": 50_000 if name == "teacher" else count, "passes": PASSES.get(count),
            "test_accuracy": short(read.mean()), "train_accuracy": short((logits.argmax(1) == labels[:count]).mean()),
            "cpu_seconds": round(time.process_time() - started, 1),
        })
        print(entries[-1], flush=True)
    write_arrays(HERE / "edge_teacher.npz", **said)
    about = {"about": "the article's network as a teacher", **provenance(), "runs": entries}
    with replacing(HERE / "edge_teacher.json") as beside:
        beside.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
