"""What the tests of the built book share: the book, built once, and a browser to read it with."""
import functools
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
            "/Applications/Chromium.app/Contents/MacOS/Chromium")
# Not one byte to another host, from the browser itself either; and no sandbox, which containers do not allow.
QUIET = ("--no-sandbox --disable-gpu --no-first-run --disable-background-networking "
         "--disable-component-update --disable-sync").split() + ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium. Without one the test is skipped, and in CI, where that would hide everything, fails."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
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
        done.write_text(str(code))
    if done.read_text() != "0":
        lines = [line for line in log.read_text().splitlines() if re.search("WARNING|[Ee]rror", line)]
        pytest.fail("The strict build failed:\n" + "\n".join(lines or ["see " + str(log)]), pytrace=False)
    return folder
