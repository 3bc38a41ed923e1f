"""The parts of the book fit together, and it builds without a warning."""
import json
import re
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from docutils import nodes
from sphinx.errors import ExtensionError

ROOT = Path(__file__).parent.parent
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def entries():
    return [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]


def test_toc_and_files_agree():
    pages = [str(path.relative_to(ROOT).with_suffix("")) for path in (ROOT / "chapters").glob("**/*")
             if path.suffix in {".md", ".ipynb"} and not path.name.startswith("_") and ".ipynb_checkpoints" not in path.parts]
    assert set(pages) - set(entries()) == set(), "give these a place in _toc.yml"
    assert sorted(entries()) == sorted(["index", *pages]), "_toc.yml names what is not there, or one page twice"


def test_no_number_orders_the_files():
    assert not [name for name in TRACKED if name.startswith("chapters/") and re.search(r"\d", name)]


def test_repository_address_is_in_one_place():
    address = CONFIG["repository"]["url"]
    assert [name for name in TRACKED if address.encode() in (ROOT / name).read_bytes()] == ["_config.yml"]


def test_what_is_cited_exists_and_what_exists_is_cited():
    text = "".join((ROOT / f"{entry}{suffix}").read_text(encoding="utf-8") for entry in entries() for suffix in (".md", ".ipynb")
                   if (ROOT / f"{entry}{suffix}").exists())
    cited = {key for keys in re.findall(r"\{cite:\w+\}`([^`]+)`", text) for key in keys.split(",")}
    known = set(re.findall(r"^@\w+\{(\S+),", (ROOT / "references.bib").read_text(encoding="utf-8"), flags=re.M))
    assert cited - known == set(), "cited, and not in references.bib"
    assert known - cited == set(), "in references.bib, and cited nowhere: cite or delete"


def test_references_can_be_followed():
    for entry in re.split(r"\n(?=@)", (ROOT / "references.bib").read_text(encoding="utf-8")):
        assert re.search(r"^\s*(doi|url)\s*=", entry, flags=re.M), entry


@pytest.mark.parametrize("name", [name for name in TRACKED if name.endswith((".md", ".ipynb", ".py", ".yml", ".toml", ".txt"))])
def test_files_are_portable(name):
    content = (ROOT / name).read_bytes()  # read as text, every \r\n would be a \n before we look
    assert b"\r" not in content
    content.decode("utf-8")


def test_strict_build(site):
    """The fixture builds with every warning an error; what it built is there."""
    for entry in entries():
        assert (site.root / f"{entry}.html").is_file()


def test_prerequisites_form_no_cycle_and_come_first():
    """Chapters build on earlier ones; only the program itself may be met before its place."""
    names = [entry.rpartition("/")[2] for entry in entries()]
    edges = {}
    for entry in entries():
        path = ROOT / f"{entry}.ipynb"
        if path.exists():
            opening = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
            needed = re.search(r"\*\*Before:\*\*(.+?)\*\*Reading", opening, flags=re.S)[1]
            edges[path.stem] = set(re.findall(r"\{ref\}`([\w-]+)`", needed))
    chapters = {name: needed & set(edges) for name, needed in edges.items()}
    TopologicalSorter(chapters).prepare()  # raises where there is a cycle
    late = {(name, one) for name, needed in chapters.items() for one in needed if names.index(one) > names.index(name)}
    assert {one for _, one in late} <= {"walkthrough"}, late


def test_each_chapter_says_what_it_leads_to(site):
    page = (site.root / "chapters/algorithms/convolution.html").read_text(encoding="utf-8")
    assert re.search(r"Leads to:</strong>[^\n]*cnn\.html", page)


def test_exercises_are_all_in_their_index(site):
    labels = {label for path in (ROOT / "chapters").glob("*/*.ipynb")
              for label in re.findall(r":label: ([\w-]+)", path.read_text(encoding="utf-8"))}
    page = (site.root / "chapters/backmatter/exercises.html").read_text(encoding="utf-8")
    assert set(re.findall(r'href="[^"]+#([\w-]+)">\d+ ', page)) == labels and len(labels) > 100


def test_a_node_that_does_not_run_is_named(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "site"))
    import static_site

    monkeypatch.setattr(static_site, "NODE", tmp_path / "node")
    writer = SimpleNamespace(builder=SimpleNamespace(config=SimpleNamespace(math_macros={})))
    with pytest.raises(ExtensionError, match="does not run .*make clean"):
        static_site.render(writer, nodes.math("x", "x^2"), False)
