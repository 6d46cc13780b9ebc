"""What the window says, in the user's language, by Qt's own translation files: translations/*.ts, compiled to *.qm.

English texts stand in the code as the first argument of a function called `say`, which is how pylupdate5 finds them:

    make translations    # after a text was added or changed; then translate what is unfinished in the .ts files

Qt is imported only where another language than English is wanted, or the system's is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "translations"
LANGUAGES = {"en": "English", "fi": "suomi", "sv": "svenska"}
CONTEXT = "@default"  # pylupdate5's name for texts outside of classes


class Texts:
    """Translates. In a text "%n" is the count, and "(s)" an English plural's ending."""

    def __init__(
        self, language: str = "en", translate: Callable[[str, str, int], str] | None = None, decimal: str = "."
    ) -> None:
        self.language, self._translate, self._decimal = language, translate, decimal
        self._known: dict[tuple[str, str, int], str] = {}

    def __call__(self, text: str, comment: str = "", count: int = -1) -> str:
        """The text in the user's language, or as it is where it has no translation."""
        key = text, comment, count
        if key not in self._known:
            translated = self._translate(text, comment, count) if self._translate else ""
            if not translated and count >= 0:
                translated = text.replace("(s)", "" if count == 1 else "s")
            if len(self._known) >= 1000:  # counts and estimates vary, but not that much
                self._known.clear()
            self._known[key] = (translated or text).replace("%n", str(count))
        return self._known[key]

    def number(self, value: float, digits: int = 0) -> str:
        return f"{value:.{digits}f}".replace(".", self._decimal)


ENGLISH = Texts()


@cache
def load_texts(language: str = "auto") -> Texts:
    """Texts in "en", "fi" or "sv"; "auto": the system's language where it is one of these, else English."""
    if language == "en":
        return ENGLISH
    from PyQt5.QtCore import QLocale, QTranslator

    if language == "auto":
        spoken = [name.partition("-")[0] for name in QLocale.system().uiLanguages()]
        language = next((name for name in spoken if name in LANGUAGES), "en")
        return load_texts(language)
    translator = QTranslator()
    if not translator.load(str(FOLDER / f"{language}.qm")):
        raise FileNotFoundError(f"{FOLDER / f'{language}.qm'} is missing or damaged: run `make translations`")

    def translate(text: str, comment: str, count: int) -> str:
        return translator.translate(CONTEXT, text.encode(), comment or None, count) or ""

    return Texts(language, translate, QLocale(language).decimalPoint())


def vocabulary(say: Texts) -> tuple[str, ...]:
    """Words that labels make of what networks say and of why a face could not be read."""
    return (
        say("perhaps a woman"),
        say("perhaps a man"),
        say("angry"),
        say("disgusted"),
        say("afraid"),
        say("happy"),
        say("neutral"),
        say("sad"),
        say("surprised"),
        say("turned away"),
        say("at the edge"),
        say("too small"),
    )
