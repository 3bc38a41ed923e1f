"""The back matter is complete: what it lists is in the chapters, and what they use is in it."""
import json
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "chapters" / "backmatter"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
NOTEBOOKS = {path.stem: path for part in TOC["parts"] for chapter in part["chapters"]
             if (path := ROOT / f"{chapter['file']}.ipynb").exists() and "backmatter" not in chapter["file"]}

VERDICTS = {"holds": "hold", "with conditions": "hold with conditions", "does not hold": "do not hold", "does not hold today": "do not hold today"}
CORRECT_NOTHING = set()  # chapters that no row of the corrections needs; none at present

PROPER_NAMES = {"Adadelta", "Adagrad", "Adam", "AdamW", "AlexNet", "CLIP", "CutMix", "Hyperband", "im2col", "ImageNet", "InfoNCE",
                "LeNet-5", "LiteRT", "MNIST", "ONNX", "RMSprop", "softplus", "U-Net", "VGG", "XLA"}

BOLD = re.compile(r"\\(?:boldsymbol|mathbf|mathcal|mathbb)\s*\{?\s*\\?[A-Za-z]+\s*\}?")
GREEK = re.compile(r"\\(?:alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|varphi|chi|psi"
                   r"|omega|ell|Gamma|Delta|Lambda|Pi|Sigma|Phi|Psi|Omega|Theta)(?![A-Za-z])")


def cells(name, kind):
    notebook = json.loads(NOTEBOOKS[name].read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def rows(text):
    """Return the cells of every table row of a page, without headings and rules."""
    table = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return [row for number, row in enumerate(table) if not set("".join(row)) <= set("-: ")
            and not (number + 1 < len(table) and set("".join(table[number + 1])) <= set("-: "))]


def formulas(text, inline=True):
    displayed = re.findall(r"\$\$(.*?)\$\$", text, flags=re.S)
    return displayed + (re.findall(r"(?<![\\$])\$([^$\n]+?)\$", re.sub(r"\$\$.*?\$\$", " ", text, flags=re.S)) if inline else [])


def symbols(formula):
    """Return the letters of a formula: bold and script ones with their command, Greek and italic ones alone."""
    formula = re.sub(r"\\(?:text|operatorname\*?|begin|end|mathrm)\{[^}]*\}", " ", formula)
    found = {re.sub(r"\s", "", symbol) for symbol in BOLD.findall(formula)}
    formula = BOLD.sub(" ", formula)
    found |= set(GREEK.findall(formula))
    return found | set(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", formula)))


def symbols_of(text, inline=True):
    return set().union(*(symbols(formula) for formula in formulas(text, inline)))


def notation():
    """Return the rows for all chapters, and those of each chapter as a dictionary."""
    common, single = (PAGES / "notation.md").read_text(encoding="utf-8").split("## Symbols of one chapter")
    chapters, name = {}, None
    for where, *row in rows(single):
        name = where.removeprefix("{ref}`").removesuffix("`") or name
        chapters.setdefault(name, []).append(row)
    return rows(common), chapters


# corrections

def corrections():
    text = (PAGES / "corrections.md").read_text(encoding="utf-8")
    return text, rows(text)


def test_each_correction_has_a_verdict_and_its_evidence():
    for claim, verdict, found in corrections()[1]:
        assert verdict in VERDICTS, claim
        assert re.search(r"\{(numref|eq|ref)\}`", found), claim


def test_the_opening_of_the_corrections_counts_them():
    text, table = corrections()
    count = Counter(verdict for _, verdict, _ in table)
    said = f"Of {len(table)} claims " + ", ".join(f"{count[verdict]} {words}" for verdict, words in VERDICTS.items())
    assert said in text.replace(", and ", ", "), said


def test_no_claim_is_corrected_twice():
    assert [claim for claim, many in Counter(claim for claim, _, _ in corrections()[1] if not claim.startswith("…")).items() if many > 1] == []


def test_corrections_follow_the_article():
    numbers = [found for claim, _, _ in corrections()[1] if (found := re.match(r"(\d)\.(\d)", claim))]
    assert numbers == sorted(numbers, key=lambda number: number.groups())


def test_corrections_name_every_chapter_that_corrects():
    text = corrections()[0]
    silent = {name for name in NOTEBOOKS if not re.search(rf"`(fig-|eq-)?{name}(-[a-z]|`)|/{name}\.ipynb::", text)}
    assert silent == CORRECT_NOTHING, "give each a row in corrections.md, or name it in CORRECT_NOTHING at the head of this file"


# glossary

def glossary():
    text = (PAGES / "glossary.md").read_text(encoding="utf-8")
    body = re.search(r":::\{glossary\}\n(.*?)\n:::", text, flags=re.S).group(1)
    return [entry.split("\n", 1) for entry in body.split("\n\n")]


def english(term):
    return term.split(" (")[0]


def sort_key(term):
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", english(term)) if not unicodedata.combining(letter))
    return re.sub("[-–]", "", plain).casefold()


def test_glossary_is_sorted_and_has_no_entry_twice():
    keys = [sort_key(term) for term, _ in glossary()]
    assert keys == sorted(keys)
    assert [key for key, many in Counter(keys).items() if many > 1] == []


def test_glossary_is_bilingual_and_explains():
    for term, explanation in glossary():
        assert re.search(r"\([^)]*[\u4e00-\u9fff][^)]*\)$", term) or term in PROPER_NAMES, term
        assert explanation.startswith("  ") and explanation.endswith("."), term


def test_every_proper_name_of_the_glossary_is_there():
    assert PROPER_NAMES <= {term for term, _ in glossary()}


def test_terms_that_are_referred_to_are_in_the_glossary():
    known = {english(term).casefold() for term, _ in glossary()}
    used = {term.casefold() for name in NOTEBOOKS for cell in cells(name, "markdown") for term in re.findall(r"\{term\}`([^`<]+)`", cell)}
    assert used - known == set(), "terms that glossary.md lacks"


# notation

def test_notation_lists_nothing_that_no_chapter_uses():
    everywhere = set().union(*(symbols_of("\n\n".join(cells(name, "markdown"))) for name in NOTEBOOKS))
    for row in notation()[0]:
        assert symbols_of(row[0]) <= everywhere, f"a row of notation.md that no chapter needs: {row}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notation_of_a_chapter_is_in_the_chapter(name):
    used = symbols_of("\n\n".join(cells(name, "markdown")))
    for row in notation()[1].get(name, []):
        stands_for_a_gate = {"g"} if "_g" in row[0] else set()
        assert symbols_of(row[0]) <= used | stands_for_a_gate, f"a row of notation.md that this chapter does not need: {row}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_names_in_code_are_in_the_code(name):
    code = "\n".join(cells(name, "code") + cells(name, "markdown"))
    for row in notation()[1].get(name, []):
        for expression in re.findall(r"`([^`]+)`", re.sub(r"\{ref\}`[^`]*`", "", row[2])):
            for word in re.findall(r"[A-Za-z_]\w*", expression):
                assert re.search(rf"\b{word}\b", code), f"notation.md gives a name in code, {word}, that this chapter's code has not: {row}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_vectors_matrices_and_letters_of_equations_are_in_the_notation(name):
    """Italic letters may also be the entries of a listed vector or matrix."""
    common, chapters = notation()
    listed = set().union(*(symbols_of(f"{row[0]} {row[1]}") for row in common + chapters.get(name, [])))
    letters = listed | {re.sub(r"\\(?:boldsymbol|mathbf)\{(.*)\}", r"\1", symbol) for symbol in listed}
    used = symbols_of("\n\n".join(cells(name, "markdown")), inline=False)
    assert {symbol for symbol in used if symbol not in (listed if "{" in symbol else letters)} == set(), (
        "symbols that notation.md explains neither for all chapters nor for this one")


def test_one_thing_has_one_symbol():
    """The identity matrix, the expectation, variance and covariance, which books write in several ways."""
    for name in NOTEBOOKS:
        text = "".join(cells(name, "markdown"))
        assert not re.findall(r"\\mathbf\{1\}|\\operatorname\{(?:E|var|cov)\}", text), name

