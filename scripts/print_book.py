"""Print the built book as one PDF: `make pdf` writes `_build/book.pdf`.

Chromium opens each page of `_build/html` in the order of `_toc.yml`, lets its living figures draw themselves, and hands over
its text with addresses that hold in one document (`print_book.js`). All texts, behind a cover and a table of contents, become
one page, dressed by `print_book.css`. It is printed twice, since a browser cannot say beforehand on which sheet a heading
will be: the page numbers are read from the first print and filled into the contents of the second.
"""
import html
import json
import logging
import re
import shutil
import sys
import tempfile
from pathlib import Path

import sphinx
import yaml
from playwright.sync_api import Error as BrowserError
from playwright.sync_api import sync_playwright
from pypdf import PdfReader, PdfWriter
from sphinx import locale

ROOT = Path(__file__).parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
            "/Applications/Chromium.app/Contents/MacOS/Chromium")
# Not one byte to another host, from the browser itself either; and no sandbox, which containers do not allow.
QUIET = ("--no-sandbox --disable-gpu --no-first-run --disable-background-networking "
         "--disable-component-update --disable-sync").split() + ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
SCRIPT = Path(__file__).with_suffix(".js")
STYLES = Path(__file__).with_suffix(".css")
logging.getLogger("pypdf").setLevel(logging.ERROR)  # it remarks on how Chromium counts the objects of a PDF
_ = locale.get_translation("sphinx")  # as everywhere in the site


class CannotPrint(Exception):
    """Why there is no PDF, in a sentence for the person who wanted one."""


def files_in(entry):
    """Yield what an entry of the table of contents names, at any depth."""
    for key, value in entry.items():
        if key in ("root", "file"):
            yield re.sub(r"\.(md|ipynb|rst)$", "", value)
        elif isinstance(value, list):
            for child in value:
                yield from files_in(child)


def read_pages(browser, site, names):
    """Return what `gather` finds in each built page, by its name."""
    texts = {}
    with browser.new_context(viewport={"width": 784, "height": 1000}, color_scheme="light", reduced_motion="reduce") as context:
        page = context.new_page()
        page.set_default_timeout(120_000)
        # Of the page's programs only that of the living figures runs: no buttons appear, and nothing is folded.
        page.route(re.compile(r"\.js(\?|$)"), lambda route: route.continue_() if "living-figures" in route.request.url else route.abort())
        words = {"moves": str(_("This figure moves in the web edition."))}
        for name in names:
            page.goto((site / f"{name}.html").as_uri())
            page.wait_for_function("[...document.querySelectorAll('.living-figure')].every(one => one.childElementCount)")
            page.add_script_tag(path=SCRIPT)
            texts[name] = page.evaluate("gather", {"name": name, "names": names, "words": words})
    return texts


def compose(site, toc, config, texts):
    """Return the document of all pages as HTML."""
    first, *others = texts
    book, author = html.escape(config["title"]), html.escape(config["author"])
    entries, chapters, running, number = [], [], [], 0
    for index, part in enumerate(toc.get("parts", [toc])):
        caption = html.escape(part.get("caption", ""))
        heading = f'<h1 class="part" id="part/{index}">{caption}</h1>' if caption else ""
        if caption:
            entries.append(("h1", f"part/{index}", caption))
        for name in files_in({"chapters": part["chapters"]}):
            page, number = texts[name], number + 1
            entries += [(level.lower(), place, text) for level, place, text in page["headings"]]
            chapters.append(f'<section class="chapter" style="page: chapter-{number}">{heading}{page["html"]}</section>')
            title = html.unescape(re.sub("<[^>]+>", "", page["headings"][0][2]))
            foot = json.dumps(" · ".join(filter(None, [part.get("caption"), title])), ensure_ascii=False)
            running.append(f"@page chapter-{number} {{ @bottom-left {{ content: {foot} }} }}")
            heading = ""
    contents = "\n".join(f'<a class="{level}" href="#{html.escape(place)}"><span>{text}</span><b></b></a>' for level, place, text in entries)
    styles = dict.fromkeys(style for page in texts.values() for style in page["styles"])
    address = texts[first]["there"]
    web = f'<p class="licence">{_("Web edition")}: <a href="{address}">{address}</a></p>' if address else ""
    return f"""<!DOCTYPE html>
<html lang="{html.escape(config.get("sphinx", {}).get("config", {}).get("language", "en").replace("_", "-"))}" data-theme="light">
<head><meta charset="utf-8"><title>{book}</title>
<link rel="stylesheet" href="{(site / "_static/katex/katex.min.css").as_uri()}">
<style>{"".join(styles)}</style><style>{STYLES.read_text(encoding="utf-8")}{"".join(running)}</style></head>
<body><section id="cover"><p class="author">{author}<br>{html.escape(config.get("copyright", ""))}</p>{web}</section>
<section id="preface"><h1>{_("About this book")}</h1>{texts[first]["html"]}</section>
<nav><h1>{_("Contents")}</h1>
{contents}
</nav>
{"".join(chapters)}</body></html>"""


def landings(path, places):
    """Return on which sheet of a PDF, counted from 1, each of the `places` stands."""
    reader = PdfReader(path)
    found = {name.lstrip("/"): reader.get_destination_page_number(place) + 1 for name, place in reader.named_destinations.items()}
    return [found[place] for place in places]


def print_book(browser, site, target):
    """Write the book that is built in the folder `site` to the file `target`, whole or not at all.

    Raises CannotPrint where the book is not built, is not whole, or cannot be printed.
    """
    config, toc = (yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("_config.yml", "_toc.yml"))
    settings = config.get("sphinx", {}).get("config", {})
    locale.init([Path(sphinx.package_dir, "locale"), *(ROOT / one for one in settings.get("locale_dirs", ["locales"]))],
                settings.get("language"))
    names = list(files_in(toc))
    unbuilt = [name for name in names if not (site / f"{name}.html").is_file()]
    if unbuilt:
        raise CannotPrint(f"The book is not built: {site / unbuilt[0]}.html and {len(unbuilt) - 1} more are missing. Run: make book")
    texts = read_pages(browser, site, names)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="print-") as folder:
        document, draft, final = (Path(folder, name) for name in ("book.html", "draft.pdf", "final.pdf"))
        document.write_text(compose(site, toc, config, texts), encoding="utf-8")
        with browser.new_context(viewport={"width": 529, "height": 900}, color_scheme="light") as context:
            page = context.new_page()
            page.set_default_timeout(0)
            page.emulate_media(media="print")
            page.goto(document.as_uri())
            page.add_script_tag(path=SCRIPT)
            problems = page.evaluate("settle()")
            if problems["lost"] or problems["missing"]:
                raise CannotPrint(f"Links that lead nowhere: {problems['lost']}; pictures that are not there: {problems['missing']}")
            if problems["noChinese"]:
                print("No font of this machine has Chinese characters: boxes stand in their place (apt install fonts-noto-cjk).")
            links = page.locator("nav a")
            places = links.evaluate_all("all => all.map(one => one.getAttribute('href').slice(1))")
            white = page.add_style_tag(content="body * { visibility: hidden !important }")  # what is not drawn is soon printed
            page.pdf(path=draft, prefer_css_page_size=True)
            white.evaluate("style => style.remove()")
            numbers = landings(draft, places)
            links.evaluate_all("(all, numbers) => all.forEach((one, place) => one.lastChild.textContent = numbers[place])", numbers)
            page.pdf(path=final, prefer_css_page_size=True, print_background=True, outline=True, tagged=True)
        if landings(final, places) != numbers:
            raise CannotPrint("The page numbers of the contents moved the chapters: make nav b in print_book.css wider.")
        writer = PdfWriter(clone_from=final)
        writer.add_metadata({"/Title": config["title"], "/Author": config["author"]})
        writer.write(draft)
        draft.replace(target)
    return len(writer.pages)


def find_browser():
    """Return the path of this machine's Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def main():
    path = find_browser()
    if path is None:
        sys.exit("No Chromium found: install it (apt install chromium, or Google Chrome) to print the book.")
    target = ROOT / "_build" / "book.pdf"
    try:
        with sync_playwright() as playwright, playwright.chromium.launch(executable_path=path, args=QUIET) as browser:
            sheets = print_book(browser, ROOT / "_build" / "html", target)
    except (CannotPrint, OSError, BrowserError) as problem:
        sys.exit(f"The book is not printed. {problem}")
    print(f"{target.relative_to(ROOT)}: {sheets} pages, {target.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
