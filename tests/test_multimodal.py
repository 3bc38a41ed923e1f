"""The lab of chapter `multimodal`: its records are whole, its tests are fair, and its claims hold in the record."""
import json

import numpy as np
import pytest
from scipy import stats

from imagebook.studies import read_record


@pytest.fixture(scope="module")
def study(load_study):
    return load_study("multimodal")


@pytest.fixture(scope="module")
def numbers(load_study):
    return load_study("multimodal_numbers")


@pytest.fixture(scope="module")
def fusion(load_study):
    return load_study("multimodal_fusion")


@pytest.fixture(scope="module")
def runs(study):
    return read_record(study.STUDY.path)


def pick(study, runs, **moved):
    wanted = {**study.MIDDLE, **moved}
    return [run for run in runs if wanted.items() <= run.items()]


# ---- Fair tests -----------------------------------------------------------------------------------------------------


def test_no_caption_of_the_test_is_trained_on(study):
    for language in study.NAMES:
        old, new = (set(sum(study.captions(templates, language), [])) for templates in (study.TEMPLATES, study.NEW_TEMPLATES))
        assert not old & new
        assert max(map(len, old | new)) <= study.LENGTH


def test_languages_share_no_character_of_a_name(study):
    english = set("".join(sum(study.NAMES["English"], [])))
    chinese = set("".join(sum(study.NAMES["Chinese"], [])))
    assert not english & chinese


def test_captions_are_read_back(study):
    letters = ["", "?", *study.ALPHABET]
    text = "手写的七"
    assert "".join(letters[code] for code in study.encode([text])[0]) == text
    assert study.encode(["é"])[0, 0] == 1


@pytest.mark.parametrize("count", [18, 45, 72])
def test_numbers_left_out_leave_every_digit_in_both_places(numbers, count):
    for seed in range(5):
        hidden = numbers.left_out(seed, count)
        seen = np.setdiff1d(numbers.NUMBERS, hidden)
        assert len(hidden) == count and len(seen) == 90 - count
        assert set(seen // 10) == set(range(1, 10)) and set(seen % 10) == set(range(10))


def test_numbers_are_named(numbers):
    assert [numbers.name(n, "English") for n in (10, 15, 20, 23)] == ["ten", "fifteen", "twenty", "twenty-three"]
    assert [numbers.name(n, "Chinese") for n in (10, 15, 20, 23)] == ["十", "十五", "二十", "二十三"]
    for language in ("English", "Chinese"):
        assert len({numbers.name(n, language) for n in numbers.NUMBERS}) == 90
    bags = {language: {"".join(sorted(numbers.name(n, language))) for n in numbers.NUMBERS} for language in ("English", "Chinese")}
    assert len(bags["English"]) == 90 - 3, "only sixty-seven, sixty-nine and seventy-nine share their letters"
    assert len(bags["Chinese"]) == 90 - 28 - 8, "23 is 32 backwards, and so on for two of eight digits; 12 is 20, 13 is 30"


def test_composed_images_hold_the_two_digits(numbers):
    rng = np.random.default_rng(0)
    images, labels = np.arange(10)[:, None, None, None] * np.ones((10, 28, 28, 1)), np.arange(10)
    composed = numbers.compose(rng, images, labels, np.array([23, 70]))
    assert composed.shape == (2, 28, 56, 1)
    assert composed[0, 0, 0, 0] == 2 and composed[0, 0, -1, 0] == 3 and composed[1, 0, 0, 0] == 7


def test_voices_that_test_do_not_train(fusion, load_study):
    script = load_study("multimodal_speech")
    with np.load(fusion.SPEECH) as file:
        about = json.loads(str(file["about"]))
        family = np.array([script.family(name) for name in about["speakers"]])[file["speakers"]]
        splits = [set(family[file["splits"] == split]) for split in range(3)]
        assert not splits[0] & splits[1] and not splits[0] & splits[2] and not splits[1] & splits[2]
        assert file["clips"].shape[1:] == (script.FRAMES, script.BANDS) and file["clips"].max() == script.DEPTH / script.STEP
        assert len(np.unique(np.stack([file["digits"], file["languages"], file["speakers"]]), axis=1).T) == len(file["clips"])
    assert fusion.SPEECH.stat().st_size < 600_000


def test_filters_cover_the_band_once(load_study):
    script = load_study("multimodal_speech")
    bank = script.filter_bank()
    assert bank.shape == (16, script.TRANSFORM // 2 + 1) and np.allclose(bank.sum(1), 1)
    assert np.all(np.diff(bank.argmax(1)) > 0)


# ---- Mathematics ----------------------------------------------------------------------------------------------------


def test_floor_of_the_loss_is_what_the_best_answer_costs():
    rng = np.random.default_rng(0)
    digits = rng.integers(10, size=(4000, 64))
    equal = (digits[:, :, None] == digits[:, None]).sum(2)
    n = np.arange(64)
    floor = stats.binom.pmf(n, 63, 0.1) @ np.log1p(n)
    assert abs(np.log(equal).mean() - floor) < 0.01
    assert np.log(6.4) < floor < np.log(7.3), "between the bound by the information and that by Jensen"


def test_the_loss_with_many_positives_is_the_mean_over_assignments(study):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    u, v = (tf.constant(study.unit(rng.standard_normal((6, 4))), tf.float32) for _ in range(2))
    digits = tf.constant([0, 0, 0, 1, 1, 2])
    many = float(study.loss_of("many", u, v, digits, 5.0, 0.0))
    ones = []
    for _ in range(3):  # all assignments of three and of two: rotations suffice, since the loss is linear in the targets
        for second in ([3, 4], [4, 3]):
            order = [*np.roll([0, 1, 2], len(ones) // 2), *second, 5]
            ones.append(float(study.loss_of("one", u, tf.gather(v, order), digits, 5.0, 0.0)))
    assert abs(np.mean(ones) - many) < 1e-5 and np.std(ones) > 0.01


def test_late_fusion_is_exact_for_independent_signals(fusion):
    rng = np.random.default_rng(0)
    prior, of_image, of_sound = rng.dirichlet(np.ones(10)), rng.random(10), rng.random(10)
    exact = np.log(prior * of_image * of_sound / np.sum(prior * of_image * of_sound))
    a, b = (fusion.log_softmax(np.log(prior * likelihood)[None]) for likelihood in (of_image, of_sound))
    assert np.allclose(fusion.log_softmax(a + b - np.log(prior)), exact)


def test_damage_is_as_strong_as_it_says(fusion):
    rng = np.random.default_rng(0)
    images = np.zeros((200, 28, 28, 1), np.uint8)
    assert abs(fusion.spoil_images(images, "noise", 1.5, rng).std() - 1.5) < 0.01
    covered = (fusion.spoil_images(images, "square", 14, rng) == 0.5).sum((1, 2, 3))
    assert np.all(covered == 14 * 14)
    clips = np.full((50, 24, 16), 30, np.uint8)
    levels = [fusion.spoil_sounds(clips, ratio, rng).mean() for ratio in (20, 0, -10)]
    assert levels[0] < levels[1] < levels[2]


# ---- The record -----------------------------------------------------------------------------------------------------


def mean(group, key):
    return np.mean([run[key] for run in group])


def test_names_teach_as_well_as_labels(study, runs):
    assert mean(pick(study, runs), "test_accuracy") > mean(pick(study, runs, loss="labels"), "test_accuracy") - 0.005


def test_a_language_comes_through_another_and_only_so(study, runs):
    assert mean(pick(study, runs, pairs="pivot"), "chinese") > 0.95
    assert mean(pick(study, runs, pairs="English"), "chinese") < 0.3


def test_a_digit_without_images_is_not_read(runs):
    left = [run for run in runs if run["left_out"] >= 0]
    assert {run["left_out"] for run in left} == set(range(10))
    assert mean(left, "left_out_accuracy") < 0.02


def test_no_loss_is_below_its_floor(runs):
    n = np.arange(64)
    floor = stats.binom.pmf(n, 63, 0.1) @ np.log1p(n)
    assert min(run["loss_64"] for run in runs if "loss_64" in run and run["left_out"] < 0) > floor - 0.03


def test_the_gap_closes_where_the_temperature_is_high(study, runs):
    gaps = {T: mean(pick(study, runs, temperature=T), "gap") for T in (0.1, 1.0)}
    assert gaps[1.0] < 0.06 < gaps[0.1]


def test_teens_are_composed_in_chinese_only(numbers):
    read = {}
    for run in read_record(numbers.STUDY.path):
        if run["text"] == "order" and run["left_out"] == 45:
            for number, tried, right in zip(run["left_out_numbers"], run["tried"], run["read"]):
                read.setdefault((run["language"], number < 20), []).append(right / tried)
    assert np.mean(read["Chinese", True]) > 0.8 > 0.5 > np.mean(read["English", True])
    assert min(np.mean(read[language, False]) for language in ("Chinese", "English")) > 0.8


def test_a_bag_cannot_tell_a_number_from_its_reverse(numbers):
    runs = [run for run in read_record(numbers.STUDY.path) if run["text"] == "bag"]
    backwards = {language: mean([run for run in runs if run["language"] == language], "backwards") for language in ("Chinese", "English")}
    assert backwards["Chinese"] > 0.2 and backwards["English"] < 0.1


def test_ninety_logits_never_answer_what_they_never_saw(numbers):
    assert all(run["new"] == 0 for run in read_record(numbers.STUDY.path) if run["text"] == "ninety logits")


def test_late_fusion_beats_the_better_signal(fusion):
    for damage in fusion.DAMAGES:
        runs = [run for run in read_record(fusion.STUDY.path) if run["damage"] == damage]
        image, sound, late, added = (np.mean([run["grid"][name] for run in runs], 0) for name in ("image", "sound", "late", "added"))
        assert np.all(late > np.maximum(image, sound) - 0.01)
        assert (late - np.maximum(image, sound)).max() > 0.05 and late.mean() > added.mean()


def test_the_sum_trained_jointly_is_behind_in_every_seed_and_deaf_in_one(fusion):
    runs = read_record(fusion.STUDY.path)
    assert all(np.mean(run["grid"]["late"]) > np.mean(run["grid"]["added"]) for run in runs)
    noise = [run for run in runs if run["damage"] == "noise"]
    assert [run["missing"]["added"][1] < 0.15 for run in sorted(noise, key=lambda run: run["seed"])] == [False, True, False]


def test_dropout_of_signals_does_not_always_help(fusion):
    lead = [np.mean(run["grid"]["joined, dropout"]) - np.mean(run["grid"]["joined"]) for run in read_record(fusion.STUDY.path)]
    assert min(lead) < -0.05 and max(lead) > 0.02


def test_phrases_that_go_on_after_the_name_are_read_worse(study, runs):
    ends = np.array([template.endswith("{}") for template in study.NEW_TEMPLATES["Chinese"]] * 2)
    assert all(template.endswith("{}") for templates in study.TEMPLATES.values() for template in templates)
    asked = np.mean([run["new_chinese"] for run in pick(study, runs)], 0)
    assert asked[ends].min() > asked[~ends].max() + 0.02


def test_numbers_within_a_piece_are_read_better_in_every_seed(numbers):
    from scipy.sparse.csgraph import connected_components

    for run in read_record(numbers.STUDY.path):
        if run["text"] == "order" and run["left_out"] == 72:
            hidden = np.array(run["left_out_numbers"])
            seen, graph = np.setdiff1d(numbers.NUMBERS, hidden), np.zeros((20, 20))
            graph[seen // 10, 10 + seen % 10] = 1
            piece = connected_components(graph, directed=False)[1]
            within = piece[hidden // 10] == piece[10 + hidden % 10]
            read, tried = np.array(run["read"]), np.array(run["tried"])
            assert read[within].sum() / tried[within].sum() > read[~within].sum() / tried[~within].sum()
