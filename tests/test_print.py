"""Print the whole book once, and read the PDF as a machine can: its contents, bookmarks, links and words."""
import html
import re
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import print_book
import pytest
import yaml
from pypdf import PdfReader

ROOT = Path(__file__).parent.parent
MARGIN = 30 / 25.4 * 72  # points, and a little less than the paper's margins, into which a letter may hang
FOOT = 25 / 25.4 * 72  # the running title and the page number are below


def squash(text):
    """Return letters and digits only: a printed line has other spaces, hyphens and ligatures than the page it came from."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text)))


def plain(source):
    """Return the longest piece of a page's HTML without an element in it, such as a formula, as squashed text."""
    source = re.sub("<annotation.*?</annotation>", "", source, flags=re.DOTALL)
    return max(map(squash, map(html.unescape, re.split("<[^>]+>", source))), key=len)


@pytest.fixture(scope="module")
def names():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return list(print_book.files_in(toc))


@pytest.fixture(scope="module")
def sources(site, names):
    return {name: (site.root / f"{name}.html").read_text(encoding="utf-8") for name in names}


@pytest.fixture(scope="module")
def book(site, browser, tmp_path_factory):
    """The printed book: `.reader` of its PDF, the `.pages` as text, squashed, and `.outside`, words in the margins."""
    target = tmp_path_factory.mktemp("print") / "book.pdf"
    print_book.print_book(browser, site.root, target)
    assert [path.name for path in target.parent.iterdir()] == ["book.pdf"], "something is left beside the book"
    reader, pages, outside = PdfReader(target), [], []
    for page in reader.pages:
        words = []

        def note(text, around, matrix, *font):
            x, y = matrix[4] * around[0] + around[4], matrix[5] * around[3] + around[5]
            if y > FOOT:
                words.append(text)
            if text.strip() and not MARGIN < x < float(page.mediabox.width) - MARGIN:
                outside.append(f"page {len(pages) + 1}: {text.strip()!r} at {x:.0f}")

        page.extract_text(visitor_text=note)
        pages.append(squash("".join(words)))
    return SimpleNamespace(reader=reader, pages=pages, outside=outside, whole="".join(pages))


def test_contents_and_bookmarks_lead_to_each_chapter(book, sources):
    def titles(entries):
        for entry in entries:
            if isinstance(entry, list):
                yield from titles(entry)
            else:
                yield squash(entry.title), book.reader.get_destination_page_number(entry)

    bookmarks, problems = dict(reversed([*titles(book.reader.outline)])), []
    first = min(number for name, number in ((name, book.reader.get_destination_page_number(place))
                for name, place in book.reader.named_destinations.items()) if "part/0" in name)
    contents = "".join(book.pages[:first])
    for name, source in list(sources.items())[1:]:
        title = squash(html.unescape(re.sub("<[^>]+>", "", re.search("<h1>(.*?)<a class=.headerlink", source)[1])))
        if title not in bookmarks:
            problems.append(f"{name}: no bookmark")
            continue
        page = bookmarks[title]
        if title not in book.pages[page]:
            problems.append(f"{name}: not on page {page + 1}, where its bookmark leads")
        if f"{title}{page + 1}" not in contents:
            problems.append(f"{name}: no line in the contents with page {page + 1}")
    assert not problems, "\n".join(problems)


def test_headings_are_whole_and_where_the_contents_lead(book, sources):
    places = {name.lstrip("/"): book.reader.get_destination_page_number(place)
              for name, place in book.reader.named_destinations.items()}
    problems = []
    for name, source in list(sources.items())[1:]:
        for section, heading in re.findall(r'<section id="([^"]+)">\s*(?:<span id="[^"]*"></span>)*<h2>(.*?)<a class=.headerlink', source):
            page = places.get(f"{name}/{section}")
            if page is None or plain(heading) not in book.pages[page]:
                problems.append(f"{name}: {heading} is not on page {page}")
    assert not problems, "\n".join(problems)
    assert not book.outside, "\n".join(book.outside)


def test_links_lead_somewhere(book):
    known, problems, inner = set(book.reader.named_destinations), [], 0
    for number, page in enumerate(book.reader.pages, 1):
        for note in page.get("/Annots", ()):
            note = note.get_object()
            action = note.get("/A", {})
            if "/URI" in action:
                if not re.match("https?:|mailto:", action["/URI"]):
                    problems.append(f"page {number}: {action['/URI']}")
            else:
                target = note.get("/Dest", action.get("/D"))
                inner += 1
                if isinstance(target, str) and target not in known:
                    problems.append(f"page {number}: no place {target}")
    assert inner > 1000 and not problems, "\n".join(problems)


def test_nothing_is_lost(book, sources):
    """First and last caption of each page, all that dropdowns hide, and how each solution begins."""
    missing = []
    for name, source in sources.items():
        captions = re.findall('<span class="caption-text">(.*?)</span>\\s*<a class="headerlink', source, re.DOTALL)
        hidden = re.findall('<p class="sd-card-text">(.*?)</p>', source, re.DOTALL)
        hidden += re.findall(r'<section id="solution-content">\s*<p>(.*?)</p>', source, re.DOTALL)
        # A piece may begin on one page and end on the next, and between them are a page's formulas, which are drawn last.
        missing += [f"{name}: {text}" for text in map(plain, [*captions[:1], *captions[-1:], *hidden])
                    if text[:len(text) // 2][:40] not in book.whole and text[len(text) // 2:][-40:] not in book.whole]
    assert not missing, "\n".join(missing)


def test_no_page_is_empty(book):
    empty = [number for number, (text, page) in enumerate(zip(book.pages, book.reader.pages), 1)
             if len(text) < 50 and "/XObject" not in page["/Resources"]]
    assert not empty


def test_what_is_not_built_is_not_printed(browser, tmp_path):
    script = print_book
    with pytest.raises(script.CannotPrint, match="not built"):
        script.print_book(browser, tmp_path / "html", tmp_path / "book.pdf")
    assert not list(tmp_path.iterdir())
