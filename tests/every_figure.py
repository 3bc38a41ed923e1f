"""What holds for every living figure. A module with a `figure` and a `READY` imports these tests, and so has them."""
import pytest
from axe_playwright_python.sync_playwright import Axe


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_figure, theme):
    found = Axe().run(open_figure(theme)).response["violations"]
    assert not [(rule["id"], rule["nodes"][0]["html"]) for rule in found if rule["impact"] in ("serious", "critical")]


def test_it_fits_a_narrow_phone(open_figure):
    page = open_figure(width=360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    sizes = page.locator("[role=group] :is(button, select, input)").evaluate_all(
        "(all) => all.map((each) => each.getBoundingClientRect()).map(({ width, height }) => Math.min(width, height))")
    assert min(sizes) >= 24
