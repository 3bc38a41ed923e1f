"""The records of experiments that are not studies are read again as they were written, or not at all."""
import json

import numpy as np
import pytest

from imagebook.records import Record, read_runs, replacing, short, write_arrays, write_runs

HEADER = {"about": "two runs, 5×5", "sizes": (1, 2)}
RUNS = [{"seed": 0, "loss": [0.5, None]}, {"seed": 1, "name": "π"}]


def test_a_record_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "record.json"
    assert read_runs(path, HEADER) == []
    write_runs(path, HEADER, RUNS)
    assert read_runs(path, HEADER) == RUNS
    assert json.loads(path.read_text(encoding="utf-8")) == {**HEADER, "sizes": [1, 2], "runs": RUNS}
    assert len(path.read_text(encoding="utf-8").splitlines()) == 10 and [path] == list(tmp_path.iterdir())


def test_a_record_of_other_settings_or_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "record.json"
    write_runs(path, HEADER, RUNS)
    with pytest.raises(SystemExit, match="other settings"):
        read_runs(path, {**HEADER, "about": "three"})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SystemExit, match="git checkout"):
        read_runs(path, HEADER)


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "record.json"
    write_runs(path, HEADER, RUNS)
    with pytest.raises(ValueError):
        write_runs(path, HEADER, [{"loss": float("nan")}])
    assert read_runs(path, HEADER) == RUNS


def test_a_record_knows_what_it_holds_and_keeps_what_is_added(tmp_path):
    record = Record(tmp_path / "record.json", HEADER)
    assert not record.holds({"seed": 0})
    for run in RUNS:
        record.add(run)
    again = Record(tmp_path / "record.json", HEADER)
    assert again.runs == RUNS and again.holds({"seed": 1, "name": "π"})
    assert not again.holds({"seed": 0, "name": "π"}) and not again.holds({"seed": 2})


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "arrays.npz"
    write_arrays(path, ones=np.ones(3))
    with pytest.raises(KeyboardInterrupt), replacing(path) as beside:
        beside.write_bytes(b"half")
        raise KeyboardInterrupt
    with np.load(path) as file:
        assert file["ones"].tolist() == [1, 1, 1]
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_are_short_and_never_infinite():
    assert (short(0.123456), short(np.float32(12345.6), 5), short(np.inf), short(np.nan)) == (0.1235, 12346.0, None, None)
