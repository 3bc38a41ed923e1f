"""pyproject.toml says what is wanted, requirements.txt pins it, environment.yml and the Makefile use the pins."""
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8")
WANTED = [Requirement(text) for text in PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["book"]]


def pinned():
    """Return the locked requirements by name: a package may be pinned once for each platform or Python."""
    by_name = {}
    for entry in re.split(r"\n(?=\w)", re.sub(r"^#.*\n", "", LOCK, flags=re.M)):
        requirement, *hashes = entry.split(" \\\n")
        parsed = Requirement(requirement)
        assert hashes and all(re.fullmatch(r"\s*--hash=sha256:[0-9a-f]{64}\s*", h) for h in hashes), parsed.name
        by_name.setdefault(canonicalize_name(parsed.name), []).append(parsed)
    return by_name


def test_every_pin_is_one_version_with_its_hashes():
    for requirements in pinned().values():
        assert all(re.fullmatch(r"==[\w.+!]+", str(requirement.specifier)) for requirement in requirements)


def test_lock_names_no_address():
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", LOCK)


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_lock_holds_what_the_project_wants(wanted):
    pins = pinned().get(canonicalize_name(wanted.name), [])
    assert pins, f"{wanted.name} is not in requirements.txt: run make lock"
    for pin in pins:
        version = next(iter(pin.specifier)).version
        assert wanted.specifier.contains(version), f"{pin} does not fit {wanted}: run make lock"


def test_jupyter_book_is_the_last_of_the_first_series():
    assert [str(pin.specifier) for pin in pinned()["jupyter-book"]] == ["==1.0.4.post1"]


def test_conda_takes_python_alone_and_the_rest_from_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    python = next(entry for entry in conda if entry.startswith("python="))
    assert sorted(conda) == sorted([python, "pip"])
    assert pip == {"pip": ["-r requirements.txt"]}
    assert python.split("=")[1] in SpecifierSet(PROJECT["project"]["requires-python"])


def test_python_versions_agree():
    allowed = SpecifierSet(PROJECT["project"]["requires-python"])
    versions = [f"3.{minor}" for minor in range(8, 20) if f"3.{minor}" in allowed]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    low, high = (version.replace(".", ", ") for version in (versions[0], versions[-1]))
    assert f"({low}) <= sys.version_info[:2] <= ({high})" in makefile
    assert all(f"python{version}" in makefile for version in versions)
    workflow = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == versions


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("version", ["(3, 10)", "(3, 14)", None])
def test_make_refuses_another_python_and_leaves_the_environment(tmp_path, version):
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    python = tmp_path / "python"
    if version:
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.version_info = {version}; $2"\n')
        python.chmod(0o755)
    done = subprocess.run(["make", "book", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and "No Python 3.11, 3.12 or 3.13 with venv found: install one" in done.stdout
    assert (tmp_path / ".venv").exists()


def test_what_a_killed_process_leaves_is_not_committed():
    names = ["chapters/mnist/walkthrough.7.partial", "experiments/rnn.partial", "experiments/edge.lock"]
    done = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 128:
        pytest.skip("not a git repository")
    assert done.stdout.split() == names


def test_actions_are_pinned_by_commit():
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for action in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), f"{path.name}: {action}"
