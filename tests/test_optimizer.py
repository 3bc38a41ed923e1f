"""The records of the chapter on optimizers: complete, and what the script says of them is true."""
import pytest


@pytest.fixture(scope="module", params=["optimizer", "optimizer_zeiler"])
def script(request, load_study):
    return load_study(request.param)


def test_curves_have_one_number_a_drawn_epoch(script):
    for run in script.STUDY.read():
        lengths = {len(run[name]) for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        assert lengths == {script.EPOCHS}, run
        assert 0 <= run["test_accuracy"] <= 1


def test_defaults_of_keras_are_among_the_rates(script):
    if script.STUDY.path.stem != "optimizer":
        pytest.skip("Zeiler's rates are his own")
    cells = {(run["optimizer"], run["learning_rate"]) for run in script.STUDY.read()}
    for name, make in script.OPTIMIZERS.items():
        if name in ("GD", "GD, long"):
            continue
        # Keras holds the rate in single precision.
        default = round(float(make().learning_rate), 6)
        assert (name, default) in cells, name
    assert ("Adadelta", 1.0) in cells


def test_the_best_rate_lies_inside_its_grid(script):
    if script.STUDY.path.stem != "optimizer":
        pytest.skip("nothing is chosen in Zeiler's tables")
    found = {}
    for run in script.STUDY.read():
        found.setdefault(run["optimizer"], {}).setdefault(run["learning_rate"], []).append(run["val_accuracy"][-1])
    for name, rates in found.items():
        if len(rates) == 1:  # asked again at the rate already chosen
            continue
        best = max(rates, key=lambda rate: sum(rates[rate]))
        assert min(rates) < best < max(rates), name


def test_questions_asked_again_have_new_seeds_and_the_chosen_rate(script):
    if script.STUDY.path.stem != "optimizer":
        pytest.skip("one seed only")
    assert script.split("Adam") == ("Adam", 0)
    means = {}
    for run in script.STUDY.read():
        means.setdefault((run["optimizer"], run["learning_rate"]), []).append(run["val_accuracy"][-1])
    for name, rate in script.CHOSEN.items():
        mine = {cell[1]: sum(values) for cell, values in means.items() if cell[0] == name}
        assert max(mine, key=mine.get) == rate
        for word, more in script.FRESH.items():
            assert script.split(name + word) == (name, more) and more >= script.STUDY.seeds
            assert (name + word, rate) in means


def test_equal_seeds_see_equal_batches(script):
    """At a rate so small that nothing moves, all rules have the same first loss: same weights, same images."""
    if script.STUDY.path.stem != "optimizer":
        pytest.skip("one seed only")
    runs = [run for run in script.STUDY.read() if run["seed"] == 0]
    first = {run["optimizer"]: run["loss"][0] for run in runs
             if (run["optimizer"], run["learning_rate"]) in {("SGD", 0.001), ("momentum", 1e-4), ("Nesterov", 1e-4)}}
    assert max(first.values()) - min(first.values()) < 0.02
