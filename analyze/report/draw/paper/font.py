"""Make a reduced font for the paper figures, so that a PDF embeds it quickly.

matplotlib subsets its font for each figure, and spends most of that time on layout tables that it does not use.
Removing them once makes writing a PDF several times faster, with the same glyphs.
"""

import atexit
import tempfile
from functools import cache
from pathlib import Path

from fontTools import subset
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

WHOLE = "DejaVu Sans"  # comes with matplotlib
SMALL = "winnow DejaVu Sans"
# Latin, Greek, punctuation with super- and subscripts, arrows, mathematical signs
CHARACTERS = frozenset([*range(0x20, 0x180), *range(0x370, 0x400), *range(0x2010, 0x2095), *range(0x2190, 0x2270)])


def family_for(figure: Figure) -> str:
    """Return the small font's name if it has all characters of a figure, else the whole font's."""
    texts = (text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))
    return _small_family() if all(ord(c) in CHARACTERS for text in texts for c in text if c != "\n") else WHOLE


@cache
def _small_family() -> str:
    """Register the small font with matplotlib, once."""
    folder = tempfile.TemporaryDirectory(prefix="winnow-font-")
    atexit.register(folder.cleanup)  # matplotlib reads the file again for every figure
    options = subset.Options(layout_features=[], notdef_outline=True, recalc_timestamp=False)
    options.drop_tables = ["GSUB", "GPOS", "GDEF", "MATH", "FFTM"]
    path = Path(folder.name) / "small.ttf"
    with subset.load_font(font_manager.findfont(WHOLE), options) as font:
        cut = subset.Subsetter(options)
        cut.populate(unicodes=CHARACTERS)
        cut.subset(font)
        for record in font["name"].names:
            if record.nameID in (1, 4, 16):  # family, full name, typographic family
                record.string = SMALL.encode(record.getEncoding())
        subset.save_font(font, str(path), options)
    font_manager.fontManager.addfont(path)
    return SMALL
