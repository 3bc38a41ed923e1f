"""Every notebook is a whole chapter: run, illustrated, described, with exercises that are solved."""
import csv
import re
from math import ceil
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
PATHS = sorted((ROOT / "chapters").glob("**/*.ipynb"))
PATHS = [path for path in PATHS if ".ipynb_checkpoints" not in path.parts]
COSTS = list(csv.DictReader((ROOT / "experiments" / "chapters.csv").read_text(encoding="utf-8").splitlines()))


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    content = nbformat.read(request.param, as_version=4)
    nbformat.validate(content)
    content.slug = request.param.stem.strip("_")
    return content


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def without_code(markdown):
    return re.sub(r"(`+).*?\1", "", markdown, flags=re.S)


def headings(notebook):
    return re.findall(r"^(#+ .+)$", prose(notebook), flags=re.M)


def test_cells_were_executed_in_order(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "execute it from the top: make run CHAPTER=…"


def test_no_error_is_stored_unless_meant(notebook):
    for cell in code_cells(notebook):
        failed = any(output.output_type == "error" for output in cell.outputs)
        assert failed == ("raises-exception" in cell.metadata.get("tags", [])), cell.source


def test_figures_have_name_caption_and_alternative_text(notebook):
    for cell in code_cells(notebook):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            myst = cell.metadata.get("mystnb", {})
            figure, image = myst.get("figure", {}), myst.get("image", {})
            assert figure.get("name", "").startswith(f"fig-{notebook.slug}-"), (
                f"the metadata of this cell name no figure fig-{notebook.slug}-…:\n{cell.source}")
            assert len(figure.get("caption", "")) > 30 and len(image.get("alt", "")) > 30, (
                f"the metadata of this cell need a caption and an alt text, both above 30 letters:\n{cell.source}")
            assert not re.search(r"\.set_title|\btitle=|suptitle", cell.source), "the caption takes the title's place"
            assert image.get("classes", "line-plot") == "line-plot", cell.source


def test_figure_names_are_unique():
    names = re.findall(r'"name": "(fig-[^"]+)"', "".join(path.read_text(encoding="utf-8") for path in PATHS))
    assert [name for name in set(names) if names.count(name) > 1] == [], "two figures have one name"


def test_opening_follows_the_template(notebook):
    first, second = notebook.cells[0].source, notebook.cells[1]
    assert re.match(rf"\({notebook.slug}\)=\n# \S.+\n\n\S", first), (
        f"the first cell begins with ({notebook.slug})=, the file's name, then the title and a paragraph")
    for part in ("**You will be able to**", "**Before:**"):
        assert part in first, f"not in the first cell: {part}"
    assert re.search(r"\*\*Reading\*\* \d+ min, \*\*running\*\* \d+ (s|min)\b", first), "say: **Reading** 5 min, **running** 5 s"
    assert second.cell_type == "code" and "import" in second.source and "%pip" not in second.source, "the second cell imports"


def minutes_to_read(notebook):
    """Return the minutes of a first reading up to the quiz, by the rule of the page for teachers, rounded up to five."""
    text, lines, figures = "", 0, 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            before, *rest = re.split(r"^## Quiz$", cell.source, flags=re.M)
            text += f"{before}\n\n"
            if rest:
                break
        else:
            lines += sum(bool(line.strip()) for line in cell.source.splitlines())
            figure = cell.metadata.get("mystnb", {}).get("figure")
            figures, text = figures + bool(figure), text + (figure["caption"] if figure else "") + "\n\n"
    displays = re.findall(r"\$\$.+?\$\$", text, flags=re.S)
    words = re.sub(r"\$\$.+?\$\$|\(eq-\S+\)|^`{3,}(\{\S+\})?|\{\S+?\}(?=`)", "", text, flags=re.M | re.S)
    words = re.findall(r"\w[\w'’-]*", re.sub(r"\$[^$]+\$|`[^`\n]+`", "x", words))
    minutes = len(words) / 200 + len(displays) / 2 + figures / 4 + lines / 30
    return 5 * ceil(minutes / 5)


def test_minutes_of_reading_are_counted(notebook):
    stated = int(re.search(r"\*\*Reading\*\* (\d+) min", notebook.cells[0].source)[1])
    if notebook.slug != "template":
        counted = minutes_to_read(notebook)
        assert stated == counted, f"the first cell says {stated} min, counted are {counted}: write **Reading** {counted} min"


def test_seconds_of_running_are_measured(notebook):
    """Within half and double of the recorded ones: machines differ."""
    number, unit = re.search(r"\*\*running\*\* (\d+) (s|min)\b", notebook.cells[0].source).groups()
    measured = {line["chapter"]: float(line["running in s"]) for line in COSTS}
    if notebook.slug != "template":
        seconds = measured.get(f"{{ref}}`{notebook.slug}`")
        assert seconds, "not in experiments/chapters.csv: run pytest --nbval -n 2 --dist loadscope --record-costs with its path"
        assert 0.5 < int(number) * {"s": 1, "min": 60}[unit] / seconds < 2, (
            f"the first cell says {number} {unit}, experiments/chapters.csv {seconds:.0f} s: correct the first cell")


def test_sections_follow_the_template(notebook):
    found = headings(notebook)
    assert sum(heading.startswith("# ") for heading in found) == 1
    sections = [heading for heading in found if heading.startswith("## ")]
    assert sections[-4:] == ["## Summary", "## Quiz", "## Exercises", "## Further reading"], "a chapter ends so"
    assert len(sections) >= 7, "a chapter has at least three sections of its own"


def quiz(notebook):
    """Return the questions of a chapter, each with its answers: (text, "right" or "wrong", explanation)."""
    found = re.search(r"^## Quiz\n(.*?)^## Exercises$", prose(notebook), flags=re.M | re.S)
    questions = re.split(r"^\*\*\d\.\*\* ", found[1] if found else "", flags=re.M)[1:]
    answer = r"^```\{dropdown\} ([^\n]+)\n:class-container: quiz-(right|wrong)\n\n(.+?)\n```$"
    return [(question.split("```")[0].strip(), re.findall(answer, question, flags=re.M | re.S)) for question in questions]


def test_quiz_has_one_right_answer_and_explains_all(notebook):
    questions = quiz(notebook)
    assert 3 <= len(questions) <= 5 or notebook.slug == "template", (
        f"{len(questions)} questions between ## Quiz and ## Exercises, of three to five: see chapters/_template.ipynb")
    for question, answers in questions:
        assert "?" in question, f"asks nothing: {question}"
        assert 3 <= len(answers) <= 4, f"{len(answers)} answers in the template's form, of three or four: {question}"
        assert [verdict for _, verdict, _ in answers].count("right") == 1, f"not one quiz-right: {question}"
        for answer, verdict, explanation in answers:
            assert explanation.startswith({"right": "Yes", "wrong": "No"}[verdict]), f"begins with neither Yes nor No: {answer}"
            assert len(explanation.split()) >= 10, f"not explained: {answer}"


def test_right_answers_have_no_place_of_their_own():
    places = [[verdict for _, verdict, _ in answers].index("right") for path in PATHS if not path.name.startswith("_")
              for _, answers in quiz(nbformat.read(path, as_version=4))]
    most = max(range(4), key=places.count)
    assert places.count(most) < len(places) / 2, (
        f"of {len(places)} right answers {places.count(most)} stand in place {most + 1}: move some")


def test_every_exercise_has_a_solution_that_runs(notebook):
    solved, inside = {}, None
    labels = re.findall(r"\{exercise\}[^\n]*\n:label: (\S+)", prose(notebook))
    assert labels and all(label.startswith(notebook.slug) for label in labels), f"labels of exercises begin with {notebook.slug}-: {labels}"
    for cell in notebook.cells:
        if cell.cell_type == "code" and inside:
            solved[inside] += bool(cell.outputs)
        for opened, closed in re.findall(r"\{solution-start\} (\S+)|\{(solution-end)\}", cell.source):
            inside = opened or None
            if opened:
                solved[opened] = 0
    assert sorted(solved) == sorted(labels), "each exercise has one solution-start with its label"
    assert all(solved.values()), f"no cell with an output in the solution of {[k for k, v in solved.items() if not v]}"


def test_code_is_introduced_by_prose(notebook):
    run = 0
    for cell in notebook.cells[2:]:
        run = run + 1 if cell.cell_type == "code" else 0
        assert run < 4, f"four code cells in a row: {cell.source}"


def test_cells_are_short_and_end_without_semicolon(notebook):
    for cell in code_cells(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 13, f"{len(lines)} lines: {cell.source}"
        assert not cell.source.rstrip().endswith(";")
        if "article" not in cell.metadata.get("tags", []):
            assert max(map(len, lines)) <= 88, f"wider than the page: {cell.source}"


def test_ignored_outputs_give_their_reason(notebook):
    if any("nbval-ignore-output" in cell.metadata.get("tags", []) for cell in code_cells(notebook)):
        assert "is not compared" in prose(notebook), "say in the text which output is not compared, and why"


def test_no_trace_of_a_machine(notebook):
    for cell in code_cells(notebook):
        # The mouth of an absolute path (/home/x, /Users/x, C:\x), or of an object's address.
        assert not re.search(r"(?<![\w./:<>])/(home|root|Users|tmp|work|usr|opt|mnt|content)/\w|[A-Z]:\\\\|at 0x[0-9a-f]{6,}", str(cell.outputs))
        assert "execution" not in cell.metadata, "timings make noisy diffs: use make run"
    assert set(notebook.metadata) <= {"kernelspec", "language_info", "widgets"}, "use make run"
    assert notebook.metadata.language_info == {"name": "python"}, "use make run"
    assert notebook.metadata.kernelspec.name == "python3", "use make run"


def test_words_can_be_translated(notebook):
    text = without_code(prose(notebook))
    assert "[^" not in text, "no footnotes"
    for display in re.findall(r"\$\$(.+?)\$\$", text, flags=re.S):
        words = re.findall(r"\\text\{([^}]*)\}", display)
        assert not any(re.search(r"[A-Za-z]{2,}", word) for word in words), f"English words in {display}"
