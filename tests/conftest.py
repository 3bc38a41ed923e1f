"""What tests share: the book, built once, a browser to read it with, and the scripts of the studies."""
import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from ipywidgets.embed import embed_data
from print_book import QUIET, find_browser

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def load_study():
    """Return a function that loads a script of experiments/ by its name, as a module."""

    @functools.cache
    def load(name):
        spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium. Without one the test is skipped, and in CI, where that would hide everything, fails."""
    path = find_browser()
    if path is None:
        message = "No Chromium found: install it (apt install chromium, or Google Chrome) to test the pages."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The book, strictly built once for all workers, and served: `.root` is its folder, `.url` its address."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    root = build_once(shared / "book") / "_build" / "html"
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(root=root, url=f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()


def build_once(folder):
    """Build into `folder`, unless another worker does it: then wait for the end of that build's log."""
    log, done = folder / "log", folder / "done"
    try:
        folder.mkdir()
    except FileExistsError:
        deadline = time.monotonic() + 900
        while not done.exists():
            assert time.monotonic() < deadline, f"The book was not built in 15 minutes; see {log}"
            time.sleep(0.2)
    else:
        command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(ROOT), "--path-output", str(folder),
                   "-n", "-W", "--keep-going", "-q"]
        with open(log, "w") as output:
            code = subprocess.call(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        (folder / "code").write_text(str(code))
        (folder / "code").rename(done)  # at once: another worker may look between its making and its filling
    if done.read_text(encoding="utf-8") != "0":
        lines = [line for line in log.read_text(encoding="utf-8").splitlines() if re.search("WARNING|[Ee]rror", line)]
        pytest.fail("The strict build failed:\n" + "\n".join(lines or ["see " + str(log)]), pytrace=False)
    return folder


@pytest.fixture
def open_figure(browser, figure, request, tmp_path):
    """Return a function that opens a module's stored `figure` alone in a new page, once its `READY` is there.

    Nothing may be logged as an error in that page.
    """
    contexts, errors = [], []
    embedded = embed_data(views=[figure], drop_defaults=False)
    state = json.dumps(embedded["manager_state"]).replace("<", "\\u003c")
    (tmp_path / "host.js").write_bytes((ROOT / "site" / "static" / "living-figures.js").read_bytes())
    kind = "application/vnd.jupyter.widget"
    themes = {"light": ("#ffffff", "#323232"), "dark": ("#121212", "#ced6dd")}  # background, text

    def open_page(theme="light", width=1280):
        background, text = themes[theme]
        (tmp_path / f"{theme}.html").write_text(
            f"""<!DOCTYPE html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>Figure</title>
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <style>html {{ --pst-color-text-base: {text}; color: {text}; background: {background} }}
            body {{ margin: 16px }} main {{ max-width: 700px }}</style></head>
            <body><main><h1>Figure</h1><script type="{kind}-state+json">{state}</script>
            <script type="{kind}-view+json">{json.dumps(embedded["view_specs"][0])}</script></main>
            <script src="host.js"></script></body></html>""", encoding="utf-8")
        contexts.append(browser.new_context(viewport={"width": width, "height": 1000}, reduced_motion="reduce"))
        page = contexts[-1].new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((tmp_path / f"{theme}.html").as_uri())
        page.wait_for_selector(request.module.READY, state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors
