"""What the living figures share stands in front of what each has of its own."""
import re

import pytest

from imagebook import widgets
from imagebook.widgets.shared import assemble

SHARING = [figure for name in widgets.__all__ if isinstance(getattr((figure := getattr(widgets, name)), "_esm", None), str)]


def test_most_figures_share():
    assert len(SHARING) >= 9


@pytest.mark.parametrize("figure", SHARING, ids=lambda figure: figure.__name__)
def test_a_script_is_whole_and_styles_are_of_one_figure(figure):
    """A page could not load a second script, and the shared styles of one figure must not undo another's."""
    assert not re.search(r"^(import|export (?!default|function))", figure._esm, flags=re.M) and "function onWidth" in figure._esm
    kind = "." + figure.__module__.rpartition(".")[2].replace("_", "-")
    rules = re.sub(r"/\*.*?\*/|@\w+ [^{]*\{", "", figure._css, flags=re.S)
    selectors = re.findall(r"([^{}]+)\{[^{}]*\}", rules)
    assert len(selectors) > 30 and all(kind in one for selector in selectors for one in re.split(r",\s*(?![^(]*\))", selector.strip(" }\n")))


def test_a_script_that_shares_nothing_is_named(tmp_path):
    (tmp_path / "lonely.js").write_text("export default {};\n")
    with pytest.raises(ValueError, match="lonely.js must import"):
        assemble(tmp_path / "lonely.py")
