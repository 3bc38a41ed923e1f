"""What the living figures share, put in front of what each has of its own."""
import re
from pathlib import Path

SHARED = Path(__file__)
IMPORT = re.compile(r'^import \{[^}]*\} from "\./shared\.js";\n', flags=re.M)


def assemble(module):
    """Return the script and the styles of the figure whose files stand beside `module`, the path of its Python file.

    A page has no address from which a script could import another, so the import becomes the text itself. The shared
    styles name the figure's own class: several figures on a page then leave each other's looks alone.
    """
    module = Path(module)
    script, found = IMPORT.subn(lambda _: SHARED.with_suffix(".js").read_text(encoding="utf-8").replace("export ", ""),
                                module.with_suffix(".js").read_text(encoding="utf-8"))
    if found != 1:
        raise ValueError(f"{module.with_suffix('.js').name} must import what it shares from ./shared.js, in one statement")
    styles = SHARED.with_suffix(".css").read_text(encoding="utf-8")
    own = module.with_suffix(".css").read_text(encoding="utf-8")
    return script, styles.replace(".living-figure", "." + module.stem.replace("_", "-")) + own
