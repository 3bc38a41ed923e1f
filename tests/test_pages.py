"""Read every page of the built book as a reader does: with a browser, on two screens, by day and by night."""
import gzip
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from statistics import median
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

import pytest
import yaml
from print_book import files_in

from imagebook.studies import read_record

ROOT = Path(__file__).parent.parent
WIDTHS = (1280, 390)
BUDGET = 400_000  # bytes of a page as they travel, compressed, without its figures and its widgets' data
TOO_WIDE = """() => [...document.querySelectorAll("body *")]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && one.checkVisibility())
    .slice(0, 3).map(one => one.cloneNode().outerHTML.slice(0, 100))"""


PAGES = list(files_in(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))
every_page = pytest.mark.parametrize("name", PAGES)


@pytest.fixture(scope="module")
def axe():
    from axe_playwright_python.sync_playwright import Axe
    return Axe()


def listen(page, home):
    """Return the list to which a page's errors will be added: of its programs, of its requests, and of their hosts."""
    problems = []
    page.on("console", lambda message: message.type == "error" and problems.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("request", lambda request: request.url.startswith((home, "data:", "blob:"))
            or problems.append(f"another host: {request.url}"))
    page.on("response", lambda answer: answer.status >= 400 and problems.append(f"{answer.status}: {answer.url}"))
    return problems


def wait_for_figures(page):
    """Wait until each living figure has drawn itself or said why it could not."""
    page.wait_for_function("[...document.querySelectorAll('.living-figure')].every(one => one.childElementCount)")


@every_page
def test_page(name, site, browser, axe):
    with browser.new_context(color_scheme="light") as context:
        page = context.new_page()
        problems = listen(page, site.url)
        visited = {}
        page.on("request", lambda request: visited.setdefault(request.url, request))
        # Wide and light, then narrow and dark: each width and each colour mode is seen, with half of the visits.
        for width, mode in zip(WIDTHS, ("light", "dark")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=mode, reduced_motion="reduce")
            page.goto(f"{site.url}{name}.html")
            wait_for_figures(page)
            assert page.evaluate("document.documentElement.dataset.theme") == mode
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                problems.append(f"wider than {width} px: {page.evaluate(TOO_WIDE)}")
            for finding in axe.run(page).response["violations"]:
                if finding["impact"] in ("serious", "critical"):
                    problems.append(f"axe, {mode}, {width} px: {finding['help']}: {finding['nodes'][0]['html'][:120]} "
                                    f"and {len(finding['nodes']) - 1} more")
        problems += [f"figure: {one.inner_text()}" for one in page.locator(".living-figure-error").all()]
        living = any("living-figures.js" in url for url in visited)
        weight = sum(weigh(site, url) for url, request in visited.items()
                     if request.resource_type != "image" and url.startswith(site.url)
                     and not (living and request.resource_type == "document"))
        if weight > BUDGET:
            problems.append(f"{weight:,} bytes without figures, over {BUDGET:,}")
    assert not problems, "\n".join(problems)


def weigh(site, url):
    """Return the compressed size of a file of the site in bytes."""
    return len(gzip.compress((site.root / unquote(urlsplit(url).path).lstrip("/")).read_bytes()))


@every_page
def test_page_from_a_file(name, site, browser):
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        problems = listen(page, site.root.as_uri())
        page.goto((site.root / f"{name}.html").as_uri())
        wait_for_figures(page)
    assert not problems, "\n".join(problems)


def test_living_figures_answer_in_the_built_page(site, browser):
    """What the widgets' own tests show of each alone, on the page that shows them all, by keyboard."""
    runs = read_record(ROOT / "experiments/optimizer.jsonl")
    with browser.new_context(viewport={"width": 390, "height": 900}, reduced_motion="reduce") as context:
        page = context.new_page()
        problems = listen(page, site.url)
        page.goto(f"{site.url}chapters/backmatter/living-figures.html")
        wait_for_figures(page)
        slider = page.locator(".run-explorer").get_by_role("slider")
        slider.focus()
        for _ in range(2):
            page.keyboard.press("ArrowRight")
            rate = float(slider.get_attribute("aria-valuetext"))
            accuracy = median(run["test_accuracy"] for run in runs
                              if (run["optimizer"], run["learning_rate"]) == ("Adam", rate))
            assert f"test accuracy {accuracy:.4f}" in page.locator(".run-explorer .result.current").inner_text()
        page.locator(".digit-pad-samples input").first.focus()
        for digit in range(1, 10):
            page.keyboard.press("ArrowRight")
            page.wait_for_function(f"document.querySelector('.digit-pad-answer strong').textContent === '{digit}'")
        assert page.locator(".living-figure-needs-python a").get_attribute("href").startswith("https://mybinder.org/")
    assert not problems


@pytest.mark.parametrize("name, figure, moved, said, before, after", [
    ("concepts/neuron-to-network", "decision-boundary", "input[type=range]", ".result", "Step 60: ", "Step 120: "),
    ("algorithms/convolution", "sliding-kernel", ".frame[tabindex]", ".total", "Y8,14 =", "Y8,15 ="),
    ("algorithms/rnn", "jacobian-product", "input[type=range] >> nth=0", ".result", "ρ = 1.10", "ρ = 1.11"),
    ("algorithms/gated-rnn", "row-reader", "input[type=range]", ".words", "After 9 rows", "After 10 rows"),
    ("algorithms/gan", "adversarial-game", "input[type=range]", ".words", "Step 0:", "Step 4:"),
    ("algorithms/dcgan", "digit-writer", ".plane", ".large figcaption", "longitude 0°", "longitude 5°"),
    ("mnist/inside", "digit-pad", ".digit-pad-samples input:checked", ".digit-pad-answer strong", "7", "8"),
    ("trends/augmentation", "augmenter", "input[type=range] >> nth=0", ".sliders label >> nth=0", "turn 0°", "turn 1°"),
    ("questions/learning-rate", "quadratic-descent", "input[type=range] >> nth=0", ".words p >> nth=1",
     "The steep direction is there in one step", "The steep direction changes sides at every step"),
])
def test_a_figure_answers_in_its_chapter(name, figure, moved, said, before, after, site, browser):
    """A chapter moves its figure by program and puts it back; the page shows it as it was, and it moves by key."""
    with browser.new_context(viewport={"width": 390, "height": 900}, reduced_motion="reduce") as context:
        page = context.new_page()
        problems = listen(page, site.url)
        page.goto(f"{site.url}chapters/{name}.html")
        wait_for_figures(page)
        words = page.locator(f".{figure} {said}")
        assert words.text_content().startswith(before)
        page.locator(f".{figure} {moved}").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("([words, after]) => words.textContent.startsWith(after)", arg=[words.element_handle(), after])
    assert not problems


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_a_quiz_answers_by_keyboard(mode, site, browser, axe):
    """An answer opens and says why; what it says can be read in both modes."""
    with browser.new_context(viewport={"width": 390, "height": 900}, color_scheme=mode, reduced_motion="reduce") as context:
        page = context.new_page()
        problems = listen(page, site.url)
        page.goto(f"{site.url}chapters/algorithms/rnn.html")
        answers = page.locator("details:is(.quiz-right, .quiz-wrong)")
        assert answers.count() >= 9 and not page.locator("details.quiz-right[open], details.quiz-wrong[open]").count()
        for answer in answers.all():
            answer.locator("summary").focus()
            page.keyboard.press("Enter")
            verdict = "Yes" if "quiz-right" in answer.get_attribute("class") else "No"
            assert answer.locator(".sd-summary-content").inner_text().startswith(verdict)
        colours = {kind: page.locator(f"details.quiz-{kind} > summary").first.evaluate("one => getComputedStyle(one).borderLeftColor")
                   for kind in ("right", "wrong")}
        assert colours["right"] != colours["wrong"]
        problems += [f"axe: {one['help']}" for one in axe.run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]]
    assert not problems


def test_menus_and_search_box(site, browser, axe):
    """What opens over a page is accessible too: the search box everywhere, and the menus of a small screen."""
    findings = []
    with browser.new_context(viewport={"width": 390, "height": 900}, reduced_motion="reduce") as context:
        page = context.new_page()
        for opener, opened in ((".search-button__button", "#pst-search-dialog"),
                               (".primary-toggle", "#pst-primary-sidebar-modal")):
            page.goto(f"{site.url}{PAGES[1]}.html")
            page.locator(opener).locator("visible=true").first.click()
            page.locator(f"{opened}[open]").wait_for()
            findings += [one["help"] for one in axe.run(page).response["violations"]
                         if one["impact"] in ("serious", "critical")]
    assert not findings


def test_search_finds_each_page(site, browser):
    missing = []
    with browser.new_context() as context:
        page = context.new_page()
        problems = listen(page, site.url)
        for name in PAGES:
            title = Reader.read(site.root / f"{name}.html").heading
            page.goto(f"{site.url}search.html?q={quote(title)}")
            try:
                page.locator(f'#search-results a[href^="{name}.html"]').first.wait_for(timeout=5000)
            except Exception:
                missing.append(f"{name}: not found by {title!r}")
    assert not missing + problems, "\n".join(missing + problems)


class Reader(HTMLParser):
    """What one page links to, what can be linked to in it, its pictures and its heading."""

    def __init__(self):
        super().__init__()
        self.links, self.targets, self.images, self.metas = [], {""}, [], {}
        self.heading, self.in_heading = "", False

    @classmethod
    def read(cls, path):
        reader = cls()
        reader.feed(path.read_text(encoding="utf-8"))
        return reader

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.targets.update(filter(None, (attributes.get("id"), tag == "a" and attributes.get("name"))))
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]
        if tag == "img":
            self.images.append(attributes)
        if tag == "meta":
            self.metas[attributes.get("name") or attributes.get("property")] = attributes.get("content")
        self.in_heading |= tag == "h1" and not self.heading
        self.in_heading &= "headerlink" not in attributes.get("class", "")

    def handle_endtag(self, tag):
        self.in_heading &= tag != "h1"

    def handle_data(self, data):
        if self.in_heading:
            self.heading += data


def test_links_resolve(site):
    readers = {path: Reader.read(path) for path in site.root.rglob("*.html") if "_static" not in path.parts}
    broken = []
    for path, reader in readers.items():
        for link in reader.links:
            address, fragment = urldefrag(urljoin(path.as_uri(), link))
            if urlsplit(address).scheme != "file":
                continue
            target = Path(unquote(urlsplit(address).path))
            if not target.exists():
                broken.append(f"{path.relative_to(site.root)}: no file for {link}")
            elif target in readers and unquote(fragment) not in readers[target].targets:
                broken.append(f"{path.relative_to(site.root)}: no place for {link}")
    assert not broken, "\n".join(broken)


@every_page
def test_page_describes_itself(name, site):
    """Search engines and screen readers are told what a page and its pictures are about."""
    reader = Reader.read(site.root / f"{name}.html")
    nameless = [image["src"] for image in reader.images
                if not image.get("alt") and image.get("alt") != "" or re.search(r"\.\w{3,4}$|/", image["alt"])]
    assert not nameless, f"no alt text, or a file name for it: {nameless}"
    assert reader.heading
    for meta in ("description", "og:title", "og:description", "og:url", "twitter:card"):
        assert reader.metas.get(meta), f"no {meta}"


def test_site_map_lists_each_page(site):
    entries = ElementTree.parse(site.root / "sitemap.xml").getroot().iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")
    listed = {urlsplit(entry.text).path.partition("/")[2].partition("/")[2] for entry in entries}
    assert listed == {f"{name}.html" for name in PAGES}
