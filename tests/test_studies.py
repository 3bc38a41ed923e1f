"""Studies: nothing lost, nothing run twice, nothing half-written; and trainings that are what Keras would do."""
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from imagebook.studies import Study, load_split, read_entries, read_record, short, within_spread

ROOT = Path(__file__).resolve().parents[1]
STUDIES = sorted(path.with_suffix(".py") for path in (ROOT / "experiments").glob("*.jsonl"))

# Each run leaves a line in a file of its own, so that a second run of the same settings would be seen.
SCRIPT = '''
import os, resource, signal, time
from pathlib import Path
from imagebook.studies import Study

def run(settings):
    with open(os.environ["RAN"], "a") as file:
        file.write(f"{settings['width']} {settings['seed']}\\n")
    time.sleep(float(os.environ.get("SLEEP", 0)))
    if settings["width"] == 3 and "BREAK" in os.environ:
        raise ValueError("three is broken")
    if settings["width"] == 3 and "DIE" in os.environ:
        os._exit(1)
    if settings["width"] == 3 and "ODD" in os.environ:
        return {"loss": float("nan")}
    if "FULL" in os.environ:
        return {"long": "x" * 3000}
    return {"test_accuracy": 0.9 + settings["seed"] / 100, "threads": os.environ.get("TF_NUM_INTRAOP_THREADS", "")}

STUDY = Study(__file__, run, {"width": [1, 2, 3]}, 2, {"epochs": FIXED}, "widths", group=lambda settings: settings["width"])
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore Ctrl-C
    if "FULL" in os.environ:  # no file may grow further, which fails as a full disk does
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
    STUDY.main()
'''


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    path = tmp_path / "widths.py"
    path.write_text(SCRIPT.replace("FIXED", "4"))
    return path


def start(script, *options, **environment):
    return subprocess.Popen(
        [sys.executable, script, "--workers", "2", *options], env={**os.environ, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )


def finish(script, *options, **environment):
    process = start(script, *options, **environment)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def ran(script):
    return sorted((script.parent / "ran").read_text(encoding="utf-8").splitlines())


ALL = sorted(f"{width} {seed}" for width in (1, 2, 3) for seed in (0, 1))


# ---- The runner -----------------------------------------------------------------------------------------------------


def test_a_study_runs_all_of_its_grid_and_says_what_made_it(script):
    code, output, errors = finish(script)
    assert code == 0 and "6 of 6" in output and "6/6" in errors, errors
    header, begin, *runs, end = read_entries(script.with_suffix(".jsonl"))
    assert header == {"study": "widths", "about": "widths", "factors": ["width"], "fixed": {"epochs": 4}}
    assert begin["begin"]["workers"] == 2 and begin["begin"]["processor"]
    assert begin["begin"]["command"] == "python experiments/widths.py --workers 2"
    assert set(begin["begin"]["versions"]) == {"tensorflow", "keras", "numpy"}
    assert 0 <= end["end"]["busy"] <= 1 and end["end"]["wall_seconds"] >= 0
    assert ran(script) == ALL and all(run["threads"] == "1" for run in runs)
    assert read_record(script.with_suffix(".jsonl")) == sorted(runs, key=lambda run: run["seed"])
    finish(script)
    assert ran(script) == ALL, "a complete study has nothing left to run"
    finish(script, "--seeds", "3")
    assert ran(script) == sorted([*ALL, "1 2", "2 2", "3 2"]), "further seeds are added to those there are"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_study_loses_nothing_and_runs_nothing_twice(script, how):
    process = start(script, SLEEP="1.5")
    path = script.with_suffix(".jsonl")
    while len(path.read_bytes().splitlines() if path.exists() else []) < 4 and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, how)
    _, errors = process.communicate()
    assert how == signal.SIGKILL or errors.endswith("the same command goes on from there.\n"), errors
    recorded = read_record(path)
    assert 2 <= len(recorded) < 6
    with open(path, "ab") as file:
        file.write(b'{"width": 3, "se')  # what a power cut could leave
    (script.parent / "ran").unlink()
    code, output, errors = finish(script)
    assert code == 0 and "6 of 6" in output, errors
    done = {f"{run['width']} {run['seed']}" for run in recorded}
    assert ran(script) == sorted(set(ALL) - done)
    assert len(read_record(path)) == 6


def test_a_full_disk_costs_the_runs_that_it_could_not_hold(script):
    code, _, errors = finish(script, FULL="1")
    assert code == 1 and errors.splitlines()[-1].startswith("Stopped by OSError"), errors
    assert len(read_record(script.with_suffix(".jsonl"))) == 2
    code, output, errors = finish(script)
    assert code == 0 and "6 of 6" in output, errors
    assert len(read_entries(script.with_suffix(".jsonl"))) == 2 + 2 + 1 + 4 + 1


def test_a_failed_run_is_recorded_with_its_error_and_retried_on_demand(script):
    code, _, errors = finish(script, BREAK="1")
    assert code == 1 and "2 failed, the first with ValueError: three is broken" in errors
    path = script.with_suffix(".jsonl")
    assert [entry["error"] for entry in read_entries(path) if "error" in entry] == ["ValueError: three is broken"] * 2
    assert len(read_record(path)) == 4
    finish(script)
    assert ran(script) == ALL, "failed runs are not run again unasked"
    code, _, _ = finish(script, "--retry-failed")
    assert code == 0 and len(read_record(path)) == 6
    assert ran(script) == sorted([*ALL, "3 0", "3 1"])


def test_a_result_that_cannot_be_written_is_an_error_of_its_run(script):
    code, _, errors = finish(script, ODD="1")
    assert code == 1 and "ValueError: Out of range float values" in errors
    assert len(read_record(script.with_suffix(".jsonl"))) == 4


def test_a_worker_that_dies_costs_its_run_only(script):
    code, _, errors = finish(script, DIE="1")
    assert code == 1 and "KilledWorker" in errors
    assert len(read_record(script.with_suffix(".jsonl"))) == 4


def test_two_processes_at_one_study_do_not_mix(script):
    first = start(script, SLEEP="1")
    while not script.with_suffix(".jsonl").exists():
        time.sleep(0.05)
    code, _, errors = finish(script)
    assert code == 1 and "Another process is at widths.py" in errors
    first.communicate(timeout=120)
    assert first.returncode == 0 and ran(script) == ALL and len(read_record(script.with_suffix(".jsonl"))) == 6


def test_a_running_scheduler_can_be_used(script):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        code, output, errors = finish(script, "--address", cluster.scheduler_address)
    assert code == 0 and "6 of 6" in output, errors
    assert read_entries(script.with_suffix(".jsonl"))[1]["begin"]["workers"] == 1
    assert ran(script) == ALL


def test_a_record_made_otherwise_is_not_added_to(script):
    finish(script)
    path = script.with_suffix(".jsonl")
    before = path.read_text(encoding="utf-8")
    script.write_text(SCRIPT.replace("FIXED", "5"))
    code, _, errors = finish(script, "--seeds", "3")
    assert code == 1 and "other fixed than {'epochs': 5}. Move widths.jsonl away" in errors
    assert path.read_text(encoding="utf-8") == before
    script.write_text(SCRIPT.replace("FIXED", "4"))
    path.write_text(re.sub(r'"keras":"[^"]*"', '"keras":"1.0"', before))
    code, _, errors = finish(script, "--seeds", "3")
    assert code == 1 and "'keras': '1.0'" in errors


def test_a_repeated_sample_is_compared_with_the_spread(script):
    finish(script)
    code, output, _ = finish(script, "--sample", "4")
    assert code == 0 and len(output.splitlines()) == 4 and "OUTSIDE" not in output
    path = script.with_suffix(".jsonl")
    path.write_text(path.read_text(encoding="utf-8").replace('"test_accuracy":0.9', '"test_accuracy":0.5'))
    code, output, _ = finish(script, "--sample", "4")
    assert code == 1 and "OUTSIDE" in output


def test_the_grid_has_what_was_declared_and_keeps_groups_together():
    study = Study("x.py", None, {"a": [1, 2], "b": [1, 2]}, 2, {}, "", lambda s: s["b"], lambda s: s["a"] <= s["b"])
    assert [(run["a"], run["b"], run["seed"]) for run in study.grid()] == [
        (1, 1, 0), (1, 1, 1), (1, 2, 0), (1, 2, 1), (2, 2, 0), (2, 2, 1)]
    assert repr(study) == "Study(x: a × b, 2 seeds)"
    assert len(study.missing()) == 6 and study.read() == []


def test_a_missing_and_a_damaged_record_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="make it with the script beside it"):
        read_record(tmp_path / "none.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"factors": []}\n{"seed": 0, oops}\n')
    with pytest.raises(ValueError, match="bad.jsonl, line 2 is no JSON"):
        read_record(tmp_path / "bad.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"factors": ["width"]}\n{"widtx": 1, "seed": 0}\n')
    with pytest.raises(ValueError, match="bad.jsonl is damaged, a line lacks 'width'"):
        read_record(tmp_path / "bad.jsonl")


def test_the_spread_is_that_of_seeds_and_of_the_test():
    assert within_spread(0.95, [0.94, 0.96]) and within_spread(0.977, [0.94, 0.96])
    assert not within_spread(0.99, [0.94, 0.96]) and not within_spread(0.9, [0.94, 0.96])
    assert within_spread(0.953, [0.95, 0.95, 0.95]) and not within_spread(0.956, [0.95, 0.95, 0.95])
    assert short(0.123456) == 0.1235 and short(float("nan")) is None


# ---- Trainings ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trainer():
    import keras
    from keras import layers

    from imagebook.studies import Trainer

    model = keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / 255), layers.Conv2D(4, 5, strides=2, activation="relu"),
        layers.BatchNormalization(), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(10),
    ])
    return Trainer(model, keras.optimizers.Adam())


def test_the_split_is_fixed_and_has_no_image_twice():
    (x, y), (x_val, y_val), (x_test, y_test) = load_split()
    assert x.shape == (6144, 28, 28, 1) and x_val.shape == (4096, 28, 28, 1) and x_test.shape == (10000, 28, 28, 1)
    assert x.dtype == np.uint8 and y.shape == (6144,) and y_val.shape == (4096,) and y_test.shape == (10000,)
    assert len(np.unique(np.concatenate([x, x_val]).reshape(10240, -1), axis=0)) == 10240
    assert np.bincount(y).min() > 500 and load_split() is load_split()


def test_a_training_is_what_keras_does_with_the_same_batches(trainer):
    import keras

    rates = np.linspace(0.002, 0.001, 12)
    trainer.start(3)
    copy = keras.models.clone_model(trainer.model)
    copy.set_weights(trainer.model.get_weights())
    optimizer = keras.optimizers.Adam()
    copy.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    curves = trainer.fit(3, rates, epochs=2, batch_size=1000)
    (images, labels), *_ = load_split()
    numbers = np.random.default_rng([3, 1])
    for epoch in np.split(rates, 2):
        order = numbers.permutation(6144)[:6000].reshape(6, 1000)
        for rate, batch in zip(epoch, order):
            optimizer.learning_rate = rate
            # train_on_batch returns a running mean, which a reset would compile anew: compare the weights instead.
            copy.train_on_batch(images[batch], labels[batch])
    for ours, theirs in zip(trainer.model.get_weights(), copy.get_weights()):
        assert np.allclose(ours, theirs, atol=2e-4), np.abs(ours - theirs).max()
    logits = copy.predict(load_split()[1][0], batch_size=1024, verbose=0)
    accuracy = (logits.argmax(1) == load_split()[1][1]).mean()
    assert abs(accuracy - curves["val_accuracy"][-1]) < 0.003


def test_equal_settings_give_equal_records_and_other_seeds_others(trainer):
    first = trainer.run(seed=0, rates=0.003, epochs=2, batch_size=64)
    other = trainer.run(seed=1, rates=0.003, epochs=2, batch_size=128)
    again = trainer.run(seed=0, rates=0.003, epochs=2, batch_size=64)
    assert first.pop("cpu_seconds") > 0 and again.pop("cpu_seconds") > 0
    assert first == again and first["loss"] != other["loss"]
    assert first["test_accuracy"] > 0.85 and len(first["val_loss"]) == 2
    assert json.loads(json.dumps(first)) == first


def test_the_first_weights_are_those_of_the_initializers(trainer):
    trainer.start(0)
    kernel = trainer.model.layers[-1].kernel.numpy()
    fan = sum(kernel.shape)
    assert abs(kernel).max() <= np.sqrt(6 / fan) and abs(kernel.std() / np.sqrt(2 / fan) - 1) < 0.05
    assert np.all(trainer.model.layers[-1].bias.numpy() == 0)
    assert np.all(trainer.model.layers[2].gamma.numpy() == 1)
    assert int(trainer.optimizer.iterations) == 0


def test_the_products_are_counted():
    import keras
    from keras import layers

    from imagebook.studies import multiply_accumulates

    article = keras.Sequential([
        keras.Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu"), layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(), layers.Dropout(0.25), layers.Flatten(), layers.Dense(128, activation="relu"),
        layers.Dropout(0.5), layers.Dense(10),
    ])
    assert multiply_accumulates(article) == 11_992_448
    depthwise = keras.Sequential([keras.Input((8, 8, 3)), layers.DepthwiseConv2D(3), layers.Conv2D(5, 1)])
    assert multiply_accumulates(depthwise) == 36 * 9 * 3 + 36 * 3 * 5


@pytest.mark.parametrize("wrong, message", [
    ({"batch_size": 0, "rates": 0.1}, "between 1 and the 6144"),
    ({"batch_size": 6145, "rates": 0.1}, "between 1 and the 6144"),
    ({"batch_size": 6144, "rates": [0.1, 0.1, 0.1]}, "one number or 2, one for each step"),
])
def test_a_training_that_cannot_be_is_refused(trainer, wrong, message):
    with pytest.raises(ValueError, match=message):
        trainer.fit(seed=0, epochs=2, **wrong)


# ---- The book's studies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", STUDIES, ids=lambda path: path.stem)
def test_a_record_is_whole_and_was_made_with_these_settings(script, load_study):
    study = load_study(script.stem).STUDY
    cure = f"{study.path.name} is not whole: get it back with git checkout, or run {script.name}"
    assert study.missing() == [] and study.failures() == [], cure
    study.check_header()


@pytest.mark.parametrize("script", STUDIES, ids=lambda path: path.stem)
def test_a_sample_of_a_study_repeats(script):
    done = subprocess.run([sys.executable, script, "--sample", "3"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
