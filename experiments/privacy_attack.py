"""Who was in the training set? Networks on halves of a pool of digits, and what their answers tell: privacy_attack.json.

    python experiments/privacy_attack.py

For each way of training, 48 small networks, each on the images of a pool for which its own coins fell heads. The record
has the loss threshold and the likelihood-ratio attack on all of them; privacy_attack.npz has every network's confidence
on every image for the plain way, so that the attack can be made again. See chapter `privacy`.
"""
import json
import shlex
import sys
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers
from privacy import PrivateTrainer, calibrated

from imagebook.records import replacing, write_arrays
from imagebook.studies import Trainer, load_split, provenance, short, small_network

POOL, NETWORKS, WRONG, STEPS, BATCH = 1024, 48, 32, 640, 32
LEVELS = np.geomspace(1e-4, 1, 41)  # false positive rates at which curves are kept
PRIVATE = {"epsilon 32": 32.0, "epsilon 8": 8.0, "epsilon 2": 2.0, "clipped only": None}
PRIVATE_STEPS, PRIVATE_BATCH, PRIVATE_RATE = 240, 64, 0.25
GUESSES = (64, 320, 1600)  # how many coins an auditor guesses, half of them heads


def pool(size):
    """Return images and labels of a pool; the first 1 in 32 have a wrong label, drawn once."""
    (x, y), (x_more, y_more), _ = load_split()
    x, y = np.concatenate([x, x_more])[:size], np.concatenate([y, y_more])[:size].copy()
    wrong = size * WRONG // POOL
    y[:wrong] = (y[:wrong] + np.random.default_rng(7).integers(1, 10, wrong)) % 10
    return x, y


def fresh():
    """Return 2,048 validation images that are in no pool, and the test set."""
    _, (x_val, y_val), test = load_split()
    return (x_val[2048:], y_val[2048:]), test


def shifted(x, y, reach=2):
    """Return the images in (2 reach + 1)² places; image i in place p is number p · len(x) + i, unmoved if p = 0."""
    moves = sorted(((r, c) for r in range(-reach, reach + 1) for c in range(-reach, reach + 1)), key=lambda m: m != (0, 0))
    return np.concatenate([np.roll(x, move, (1, 2)) for move in moves]), np.tile(y, len(moves))


def with_dropout():
    return keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / 255), layers.Conv2D(8, 5, strides=2, activation="relu"),
        layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dropout(0.5),
        layers.Dense(10)])


def adam(decay=None):
    return keras.optimizers.Adam(weight_decay=decay)


# Name: model, weight decay, pool, steps, places of each image.
WAYS = {
    "plain": (small_network, None, POOL, STEPS, 1),
    "early stopping": (small_network, None, POOL, 256, 1),
    "weight decay": (small_network, 1.0, POOL, STEPS, 1),
    "dropout": (with_dropout, None, POOL, STEPS, 1),
    "shifts": (small_network, None, POOL, STEPS, 25),
    "eight times the images": (small_network, None, 8 * POOL, STEPS, 1),
}


def coins(network, size):
    """Return which images this network is trained on: a fair coin for each."""
    return np.random.default_rng([network, 3]).random(size) < 0.5


def confidence(model, x, y, many=2048):
    """Return z_k minus the logarithm of the sum of the other classes' exponentials: the log odds of the label."""
    logits = np.concatenate([np.asarray(model(x[first:first + many], training=False), float)
                             for first in range(0, len(x), many)])
    own = logits[np.arange(len(y)), y]
    logits[np.arange(len(y)), y] = -np.inf
    top = logits.max(axis=1)
    return own - top - np.log(np.exp(logits - top[:, None]).sum(axis=1))


def train_ways(name):
    """Yield for each network its members and, after its training, its trainer."""
    make, decay, size, steps, places = WAYS[name]
    x, y = pool(size)
    trainer = Trainer(make(), adam(decay), (shifted(x, y) if places > 1 else (x, y), *fresh()))
    for network in range(NETWORKS):
        member, numbers = coins(network, size), np.random.default_rng([network, 4])
        inside, order = np.flatnonzero(member), []
        while len(order) * len(inside) < steps * BATCH:
            order.append(numbers.permutation(inside))
        order = np.concatenate(order)[:steps * BATCH]
        order = order + size * numbers.integers(0, places, len(order))
        trainer.start(network)
        trainer.epoch(order.reshape(-1, BATCH).astype("int32"), np.full(steps, 0.002, "float32"))
        yield member, trainer


def train_private(name):
    """The same for DP-SGD on the small pool."""
    epsilon, (x, y) = PRIVATE[name], pool(POOL)
    noise = private_noise(epsilon)
    private = PrivateTrainer(((x, y), *fresh()))
    for network in range(NETWORKS):
        member = coins(network, POOL)
        private.trainer.start(network)
        # Neither the sampling rate nor the step depends on how many members the coins gave: that number is private too.
        private.fit(network, np.flatnonzero(member), PRIVATE_BATCH / (POOL / 2), PRIVATE_STEPS,
                    PRIVATE_RATE / PRIVATE_BATCH, 1.0, noise)
        yield member, private.trainer


def private_noise(epsilon):
    return calibrated(PRIVATE_BATCH / (POOL / 2), PRIVATE_STEPS, epsilon) if epsilon else 0.0


def shadow_moments(scores, member, others):
    """Return, for each target, the means of every image in and out of training, and the two pooled deviations.

    scores, member: of all networks, (networks, images); others: 1 where a network is a shadow of a target, (targets,
    networks). Both means belong to the image, both deviations to all images together.
    """
    weights_in, weights_out = others @ member.astype(float), others @ (~member).astype(float)
    mean_in = others @ (scores * member) / np.maximum(weights_in, 1)
    mean_out = others @ (scores * ~member) / np.maximum(weights_out, 1)
    square_in = (others @ (scores**2 * member)).sum(1) - (weights_in * mean_in**2).sum(1)
    square_out = (others @ (scores**2 * ~member)).sum(1) - (weights_out * mean_out**2).sum(1)
    s_in = np.sqrt(square_in / (weights_in - 1).sum(1))[:, None]
    s_out = np.sqrt(square_out / (weights_out - 1).sum(1))[:, None]
    return mean_in, mean_out, s_in, s_out


def attack(scores, member, others=None):
    """Return the likelihood ratios of all networks, each with all others as shadows if not told otherwise."""
    others = 1.0 - np.eye(len(scores)) if others is None else others
    mean_in, mean_out, s_in, s_out = shadow_moments(scores, member, others)
    return np.log(s_out / s_in) + (scores - mean_out) ** 2 / (2 * s_out**2) - (scores - mean_in) ** 2 / (2 * s_in**2)


def curve(score, member, levels=LEVELS):
    """Return the true positive rate at each false positive rate."""
    out = np.sort(score[~member])[::-1]
    thresholds = out[np.minimum((levels * len(out)).astype(int), len(out) - 1)]
    inside = np.sort(score[member])
    return 1 - np.searchsorted(inside, thresholds, "right") / len(inside)


def summary(scores, member, gaps, clean):
    """Return the attacks on all images with a true label together, and by network and image where that is short."""
    ratio, losses = attack(scores, member), np.logaddexp(0, -scores)
    part = {"loss": -losses[:, clean], "ratio": ratio[:, clean]}
    result = {"curves": {name: [short(v) for v in curve(part[name], member[:, clean])] for name in part}}
    result["advantage"] = {
        name: [short(np.max(curve(part[name][t], member[t, clean], np.linspace(0, 1, 201)) - np.linspace(0, 1, 201)))
               for t in range(len(scores))] for name in part}
    # Yeom's attack has no free threshold: below the mean training loss means "was in".
    yes = [losses[t, clean] < losses[t, clean][member[t, clean]].mean() for t in range(len(scores))]
    result["advantage"]["mean loss"] = [
        short(yes[t][member[t, clean]].mean() - yes[t][~member[t, clean]].mean()) for t in range(len(scores))]
    if not clean.all():
        wrong = ~clean
        result["wrong"] = {name: [short(v) for v in curve(s[:, wrong], member[:, wrong])]
                           for name, s in (("loss", -losses), ("ratio", ratio))}
    result["guesses"] = guesses(scores, member)
    return result | gaps


def guesses(scores, member):
    """Return [guesses, right ones] of an auditor whose shadows are the first half of the networks, on all the others.

    He calls the highest ratios members and the lowest ones none; the coins of the others play no part in his shadows.
    """
    half = len(scores) // 2
    others = np.zeros((len(scores),) * 2)
    others[:, :half] = 1
    ratio, truth = attack(scores, member, others)[half:].ravel(), member[half:].ravel()
    order = np.argsort(ratio)
    return [[count, int(truth[order[-count // 2:]].sum() + (~truth[order[:count // 2]]).sum())] for count in GUESSES]


def record_way(name, networks):
    started, scores, member, numbers = time.process_time(), [], [], {key: [] for key in (
        "train_accuracy", "out_accuracy", "fresh_accuracy", "train_loss", "out_loss", "test_accuracy")}
    for inside, trainer in networks:
        x, y = trainer.images.numpy()[:len(inside)], trainer.labels.numpy()[:len(inside)]
        s = confidence(trainer.model, x, y)
        scores.append(s)
        member.append(inside)
        clean = np.arange(len(inside)) >= len(inside) * WRONG // POOL
        losses = np.logaddexp(0, -s)
        answers = np.concatenate([np.argmax(trainer.model(x[i:i + 2048]), 1) for i in range(0, len(x), 2048)]) == y
        for key, value in {
                "train_accuracy": answers[inside & clean].mean(), "out_accuracy": answers[~inside & clean].mean(),
                "train_loss": losses[inside & clean].mean(), "out_loss": losses[~inside & clean].mean(),
                "fresh_accuracy": trainer.evaluate(*trainer.validation)[1],
                "test_accuracy": trainer.evaluate(*trainer.test)[1]}.items():
            numbers[key].append(short(value))
    scores, member = np.array(scores), np.array(member)
    result = summary(scores, member, numbers, clean)
    result["cpu_seconds"] = round(time.process_time() - started, 1)
    return result, scores, member


def main():
    began, ways, kept = time.process_time(), {}, {}
    for name in [*WAYS, *PRIVATE]:
        ways[name], scores, member = record_way(name, (train_private if name in PRIVATE else train_ways)(name))
        if name in PRIVATE:
            ways[name] |= {"epsilon": PRIVATE[name], "noise": short(private_noise(PRIVATE[name]))}
        if name == "plain":
            kept[name] = np.round(np.clip(scores, -300, 300) * 100).astype("int16")
        print(name, {key: value for key, value in ways[name].items() if key == "cpu_seconds"},
              *(f"{key} {np.mean(ways[name][key]):.4f}" for key in ("train_accuracy", "out_accuracy", "test_accuracy")),
              *(f"{key} {np.mean(value):.3f}" for key, value in ways[name]["advantage"].items()), flush=True)
    here, versions = Path(__file__).with_suffix(""), provenance()
    versions["command"] = shlex.join(["python", f"experiments/{Path(sys.argv[0]).name}"])
    record = {"fixed": {"pool": POOL, "networks": NETWORKS, "wrong": WRONG, "steps": STEPS, "batch": BATCH,
                        "private": [PRIVATE_STEPS, PRIVATE_BATCH, PRIVATE_RATE]},
              "levels": [short(v) for v in LEVELS], "ways": ways,
              "cpu_seconds": round(time.process_time() - began, 1), "made": versions}
    write_arrays(here.with_suffix(".npz"), **kept)  # first: what is in the record has its arrays
    with replacing(here.with_suffix(".json")) as beside:
        beside.write_text(json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
