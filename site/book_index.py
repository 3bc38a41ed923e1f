"""What the book knows of itself as a whole: which chapters lead to which, and where its exercises are.

Sphinx runs this as a local extension (`_config.yml` names it).

- A chapter's opening names what it builds on, between the second and the third of its four bold phrases ("**Before:** …").
  The chapters that it leads to are added there, so that references go both ways and none is kept by hand.
- The directive `exercise-list` lists the exercises of all chapters, with links.
"""
from docutils import nodes
from sphinx.locale import _
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode
from sphinx_exercise.nodes import exercise_subtitle


def opening(doctree):
    """Return the paragraph of a chapter that names aims, prerequisites and minutes, in bold; elsewhere None."""
    return next((paragraph for paragraph in doctree.findall(nodes.paragraph)
                 if sum(isinstance(child, nodes.strong) for child in paragraph.children) == 4), None)


def note_prerequisites(app, doctree):
    """Keep, for a chapter, the labels of what it builds on."""
    paragraph, bold, labels = opening(doctree), 0, []
    if paragraph is None:
        return
    for child in paragraph.children:
        bold += isinstance(child, nodes.strong)
        if bold == 2:
            labels += [node["reftarget"] for node in child.findall(nodes.Element) if node.get("reftype") == "ref"]
    vars(app.env).setdefault("prerequisites", {})[app.env.docname] = labels


def forget(app, env, docname):
    """Drop what was noted of a page that is read anew or gone."""
    for kept in ("prerequisites", "exercise_lists"):
        vars(env).get(kept, {}).pop(docname, None)


def pages(env):
    """Return the names of all pages in the order of the table of contents."""
    found, waiting = [], [env.config.root_doc]
    while waiting:
        found.append(waiting.pop(0))
        waiting = env.toctree_includes.get(found[-1], []) + waiting
    return found


def turn_round(app, env):
    """Note what each chapter leads to; return the pages that change by that, and those with a list of exercises."""
    # What sphinx-exercise keeps of an exercise leads to its whole chapter, which each build would read and write once more.
    for entry in vars(env).get("sphinx_exercise_registry", {}).values():
        entry["node"] = entry["node"].deepcopy()
        for node in entry["node"].findall():
            node.document = None
    chapters, before = vars(env).get("prerequisites", {}), vars(env).get("leads_to", {})
    places = {label: entry[0] for label, entry in env.domains["std"].anonlabels.items()}
    env.leads_to = {}
    for page in pages(env):
        for label in chapters.get(page, ()):
            if places.get(label) in chapters:
                env.leads_to.setdefault(places[label], []).append(page)
    changed = {page for page in {*before, *env.leads_to} if before.get(page) != env.leads_to.get(page)}
    return (changed | set(vars(env).get("exercise_lists", ()))) & env.found_docs


class exercise_list(nodes.General, nodes.Element):
    """The place of the list until all chapters are read."""


class ExerciseList(SphinxDirective):
    """The place of the list of all exercises."""

    def run(self):
        vars(self.env).setdefault("exercise_lists", {})[self.env.docname] = True
        return [exercise_list()]


def link(app, page, target, anchor, *text):
    """Return a link from one page to a place on another."""
    return make_refnode(app.builder, page, target, anchor, [node.deepcopy() for node in text])


def resolve(app, doctree, page):
    """Add what the chapter leads to, and fill a list of exercises."""
    later = vars(app.env).get("leads_to", {}).get(page)
    if later and (paragraph := opening(doctree)):
        paragraph += [nodes.Text(" "), nodes.strong("", _("Leads to:")), nodes.Text(" ")]
        for place, target in enumerate(later):
            paragraph += [nodes.Text(", ")] * (place > 0) + [link(app, page, target, "", *app.env.titles[target].children)]
        paragraph += nodes.Text(".")
    for place in list(doctree.findall(exercise_list)):
        place.replace_self(list(exercises(app, page)))


def exercises(app, page):
    """Yield for each chapter with exercises its title and their list."""
    for chapter in pages(app.env):
        numbers = app.env.toc_fignumbers.get(chapter, {}).get("exercise", {})
        if numbers:
            yield nodes.paragraph("", "", nodes.strong("", "", link(app, page, chapter, "", *app.env.titles[chapter].children)))
        entries = nodes.bullet_list(classes=["exercise-list"])
        for label, number in numbers.items():
            title = next(app.env.sphinx_exercise_registry[label]["node"].findall(exercise_subtitle))
            words = nodes.Text(f"{'.'.join(map(str, number))} ")
            entries += nodes.list_item("", nodes.paragraph("", "", link(app, page, chapter, label, words, *title.children)))
        if numbers:
            yield entries


def setup(app):
    app.add_node(exercise_list)
    app.add_directive("exercise-list", ExerciseList)
    app.connect("doctree-read", note_prerequisites)
    app.connect("env-purge-doc", forget)
    app.connect("env-updated", turn_round)
    app.connect("doctree-resolved", resolve)
    return {"parallel_read_safe": False, "parallel_write_safe": False}
