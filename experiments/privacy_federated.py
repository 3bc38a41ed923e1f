"""Federated averaging over 48 simulated clients of 128 digits each: experiments/privacy_federated.jsonl.

    python experiments/privacy_federated.py --workers 2

The clients' images are dealt at random ("iid") or by digit, two digits a client as a rule. In each round twelve clients
start from the server's weights, train on their own images, and the server averages what they send back. `local` is the
number of local epochs; with 0 a client sends one gradient of all its images. See chapter `privacy`.
"""
import functools
import time

import keras
import numpy as np

from imagebook.studies import Study, Trainer, load_split, short, small_network

IMAGES, CLIENTS, CHOSEN, ROUNDS, BATCH = 6144, 48, 12, 40, 32
RATES = {0: (0.1, 0.2), 1: (0.1, 0.2), 5: (0.05, 0.1)}


@functools.cache
def trainer():
    return Trainer(small_network(), keras.optimizers.SGD())


def deal(split, seed):
    """Return the numbers of each client's images, shape (clients, images of each)."""
    numbers = np.random.default_rng([seed, 5])
    each = IMAGES // CLIENTS
    if split == "iid":
        return numbers.permutation(IMAGES).reshape(CLIENTS, each)
    (_, labels), _, _ = load_split()
    shards = np.argsort(labels, kind="stable").reshape(2 * CLIENTS, each // 2)
    return shards[numbers.permutation(2 * CLIENTS)].reshape(CLIENTS, each)


def local_batches(client, local, numbers):
    """Return the batches of a client's local training, shape (steps, images of a batch)."""
    if not local:
        return client[None]
    return np.concatenate([numbers.permutation(client) for _ in range(local)]).reshape(-1, BATCH)


def run(settings):
    seed, local, rate = settings["seed"], settings["local"], settings["learning_rate"]
    trained, clients, numbers = trainer(), deal(settings["split"], seed), np.random.default_rng([seed, 6])
    variables = trained.model.trainable_variables
    images, labels = (part[:1024] for part in trained.validation)
    trained.start(seed)
    server, curve, drift, started = [v.numpy() for v in variables], [], [], time.process_time()
    for _ in range(ROUNDS):
        sums, changes = [np.zeros_like(w) for w in server], []
        for client in clients[numbers.permutation(CLIENTS)[:CHOSEN]]:
            for variable, w in zip(variables, server):
                variable.assign(w)
            batches = local_batches(client, local, numbers)
            trained.epoch(batches.astype("int32"), np.full(len(batches), rate, "float32"))
            own = [v.numpy() for v in variables]
            sums = [total + w for total, w in zip(sums, own)]
            changes.append(np.concatenate([np.ravel(w - before) for w, before in zip(own, server)]))
        server = [total / CHOSEN for total in sums]
        for variable, w in zip(variables, server):
            variable.assign(w)
        # How far the clients' changes point apart: 1 if they are all the same, 1 / 12 if they are at right angles.
        drift.append(short(np.sum(np.mean(changes, 0) ** 2) / np.mean(np.sum(np.square(changes), 1))))
        curve.append(short(trained.evaluate(images, labels)[1]))
    seconds = time.process_time() - started
    validation, tested = trained.evaluate(*trained.validation), trained.evaluate(*trained.test)
    return {"curve": curve, "agreement": drift, "cpu_seconds": round(seconds, 2), "val_loss": short(validation[0]),
            "val_accuracy": short(validation[1]), "test_accuracy": short(tested[1])}


STUDY = Study(
    __file__, run, factors={"split": ["iid", "by digit"], "local": [0, 1, 5], "learning_rate": [0.05, 0.1, 0.2]},
    seeds=3,
    fixed={
        "model": "conv 5×5 stride 2, 8 maps, ReLU; conv 3×3, 16 maps, ReLU; max pooling 2×2; dense 10",
        "images": IMAGES, "clients": CLIENTS, "chosen": CHOSEN, "rounds": ROUNDS, "batch": BATCH, "optimizer": "SGD",
        "curve": "accuracy on 1,024 validation images after each round",
    },
    about="federated averaging over 48 clients of 128 digits, dealt at random and by digit",
    where=lambda settings: settings["learning_rate"] in RATES[settings["local"]])

if __name__ == "__main__":
    STUDY.main()
