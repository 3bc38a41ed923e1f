"""The studies of chapter `privacy`: their records are whole, keep their promises, and their steps are what they say."""
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from imagebook.studies import read_record

FOLDER = Path(__file__).parents[1] / "experiments"


@pytest.fixture
def load(load_study, monkeypatch):
    """Load a script of experiments/ that imports from its neighbours."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return load_study


@pytest.fixture(scope="module")
def ways():
    return json.loads((FOLDER / "privacy_attack.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def audits():
    file = np.load(FOLDER / "privacy_audit.npz")
    return json.loads(str(file["about"])), {name: file[name] for name in ("inside", "ratio", "total")}


def spent(q, noise, steps, delta=1e-5):
    import dp_accounting
    from dp_accounting import pld

    step = dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(noise))
    accountant = pld.PLDAccountant(value_discretization_interval=1e-3)
    return accountant.compose(dp_accounting.SelfComposedDpEvent(step, steps)).get_epsilon(delta)


def test_records_are_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("privacy*") if path.suffix != ".py") < 400_000


def test_every_recorded_noise_keeps_its_promise():
    plans = {(run["epsilon"], run["batch_size"] / 6144, run["noise"], run["steps"])
             for run in read_record(FOLDER / "privacy.jsonl") if run["epsilon"]}
    large = json.loads((FOLDER / "privacy_large.json").read_text(encoding="utf-8"))
    fixed = large["fixed"]
    plans |= {(run["epsilon"], fixed["batch"] / fixed["images"], run["noise"], fixed["steps"])
              for run in large["runs"] if run["epsilon"] not in (None, "plain")}
    assert len(plans) >= 13
    for epsilon, *plan in plans:
        assert spent(*plan) == pytest.approx(epsilon, rel=2e-3), plan


def test_the_noise_of_attacked_and_audited_trainings_too(ways, audits):
    steps, batch, _ = ways["fixed"]["private"]
    for way in ways["ways"].values():
        if way.get("epsilon"):
            assert spent(batch / (ways["fixed"]["pool"] / 2), way["noise"], steps) == pytest.approx(way["epsilon"], rel=0.01)
    fixed = audits[0]["fixed"]
    for run in audits[0]["runs"]:
        assert spent(fixed["batch"] / fixed["images"], run["noise"], fixed["steps"]) == pytest.approx(run["epsilon"], rel=2e-3)


def test_clipped_sums_are_those_of_a_loop_and_a_step_is_descent(load):
    import tensorflow as tf

    private = load("privacy").private_trainer()
    private.trainer.start(0)
    single = []
    for number in range(24):
        with tf.GradientTape() as tape:
            logits = private.trainer.model(private.images[number:number + 1])
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(private.labels[number:number + 1], logits)
        single.append(np.concatenate([np.ravel(part) for part in tape.gradient(loss, private.weights)]))
    single = np.array(single)
    lengths = np.linalg.norm(single, axis=1)
    clip = float(np.median(lengths))
    total, found = private.clipped_sum(np.arange(24, dtype="int32"), clip)
    assert np.allclose(found, lengths, rtol=1e-4)
    by_loop = (single * np.minimum(1, clip / lengths)[:, None]).sum(0)
    assert np.allclose(total, by_loop, atol=1e-4 * np.abs(by_loop).max())
    before = private.flat()
    share, _ = private.fit(0, range(24), 1.0, 1, 0.01, clip, 0.0)
    assert share == pytest.approx(0.5)
    assert np.allclose(before - private.flat(), 0.01 * by_loop, atol=1e-5 * np.abs(by_loop).max())


def test_noise_has_the_size_that_the_accountant_was_told(load):
    private = load("privacy").private_trainer()
    seen = []
    private.fit(0, range(64), 0.25, 3, 0.0, 0.5, 3.0, lambda noisy, total: seen.append(noisy - total) or noisy)
    assert np.std(seen) == pytest.approx(1.5, rel=0.03)


def test_clients_share_the_images_out(load):
    federated = load("privacy_federated")
    labels = federated.load_split()[0][1]
    for split in ("iid", "by digit"):
        clients = federated.deal(split, 1)
        assert sorted(clients.ravel()) == list(range(federated.IMAGES)) and clients.shape == (48, 128)
        kinds = np.mean([len(set(labels[client])) for client in clients])
        assert kinds == 10 if split == "iid" else kinds < 3
    batches = federated.local_batches(clients[0], 5, np.random.default_rng(0))
    assert batches.shape == (20, 32) and all(np.count_nonzero(batches == number) == 5 for number in clients[0])


def test_the_gap_is_the_advantage_of_the_answer_and_regularising_shrinks_both(ways):
    ways = ways["ways"]
    gaps = {name: np.mean(way["train_accuracy"]) - np.mean(way["out_accuracy"]) for name, way in ways.items()}
    assert max(gaps, key=gaps.get) == "plain" and gaps["eight times the images"] < 0.3 * gaps["plain"]
    for name in ("early stopping", "weight decay", "dropout", "shifts", "eight times the images", "epsilon 2"):
        assert np.mean(ways[name]["advantage"]["mean loss"]) < np.mean(ways["plain"]["advantage"]["mean loss"])
    assert abs(np.mean(ways["plain"]["out_accuracy"]) - np.mean(ways["plain"]["fresh_accuracy"])) < 0.02


def test_the_likelihood_ratio_wins_where_false_alarms_are_few(ways):
    levels, plain = np.array(ways["levels"]), ways["ways"]["plain"]
    permille = int(np.argmin(np.abs(levels - 0.001)))
    assert plain["curves"]["ratio"][permille] > 3 * plain["curves"]["loss"][permille]
    assert plain["wrong"]["ratio"][permille] > 0.6
    for way in ways["ways"].values():
        assert np.all(np.diff(way["curves"]["ratio"]) >= 0)


def test_the_kept_scores_give_the_recorded_curves(load, ways):
    attack = load("privacy_attack")
    scores = np.load(FOLDER / "privacy_attack.npz")["plain"] / 100
    member = np.array([attack.coins(network, scores.shape[1]) for network in range(len(scores))])
    clean = np.arange(scores.shape[1]) >= ways["fixed"]["wrong"]
    again = attack.curve(attack.attack(scores, member)[:, clean], member[:, clean])
    assert np.allclose(again, ways["ways"]["plain"]["curves"]["ratio"], atol=0.01)
    assert attack.guesses(scores, member)[0][1] == pytest.approx(ways["ways"]["plain"]["guesses"][0][1], abs=1)


def test_a_pool_has_its_wrong_labels_and_shifts_keep_the_first_place(load):
    attack = load("privacy_attack")
    x, y = attack.pool(attack.POOL)
    (_, true), _, _ = attack.load_split()
    assert np.count_nonzero(y != true[:attack.POOL]) == attack.WRONG and np.all(y[attack.WRONG:] == true[attack.WRONG:attack.POOL])
    moved, labels = attack.shifted(x[:5], y[:5])
    assert len(moved) == 125 and np.array_equal(moved[:5], x[:5]) and np.array_equal(labels[5:10], y[:5])


def test_audits_stay_below_the_promise_and_come_near_it_when_extrapolated(audits):
    about, kept = audits
    for epsilon in (1.0, 2.0, 4.0, 8.0):
        rows = [run["epsilon"] == epsilon for run in about["runs"]]
        score, inside = kept["ratio"][rows].ravel().astype(float), kept["inside"][rows].ravel()
        order = np.argsort(score)
        right = inside[order[-200:]].sum() + (~inside[order[:200]]).sum()
        # More right guesses than this would refute the promise (leaving delta aside).
        assert right < stats.binom(400, special.expit(epsilon)).ppf(0.999)
        apart = score[inside].mean() - score[~inside].mean()
        mu = apart / np.sqrt((score[inside].var() + score[~inside].var()) / 2)
        plan = about["fixed"]["batch"] / about["fixed"]["images"], about["runs"][rows.index(True)]["noise"], about["fixed"]["steps"]
        limit = plan[0] * np.sqrt(plan[2] * np.expm1(plan[1] ** -2))
        assert mu == pytest.approx(limit, rel=0.25)


def test_among_many_images_the_noise_costs_less_than_the_descent_without_it():
    runs = json.loads((FOLDER / "privacy_large.json").read_text(encoding="utf-8"))["runs"]
    tested = {epsilon: np.mean([run["test_accuracy"] for run in runs
                                if run["epsilon"] == epsilon and run["learning_rate"] in (4.0, 2.0**-5)])
              for epsilon in (0.5, 1.0, 2.0, 4.0, None, "plain")}
    assert all(tested[None] - tested[epsilon] < 0.01 for epsilon in (0.5, 1.0, 2.0, 4.0))
    assert tested["plain"] - tested[None] > 0.02
