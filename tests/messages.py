"""The texts of people's pages, as the sources have them, and the catalogues of what they are in other languages.

`script/messages` brings the catalogues up to the sources, and compiles them: new texts stand in them untranslated, and
tests/test_language.py fails until somebody has translated them.
"""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import django
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.utils.translation.template import templatize

from event_service import names

Text = str | tuple[str, str]  # with its plural
PACKAGES = ("event_service", "endpoints", "routing")
CALLS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy"}
HEADER = "# Texts of people's pages. script/messages keeps them beside the sources."
MADE = datetime(2026, 1, 1, tzinfo=UTC)  # the header's; it says nothing, and does not change
LOCALES = Path(settings.LOCALE_PATHS[0])
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
# As templatize() writes what templates say.
_IN_TEMPLATES = re.compile(rf"\bn?gettext\(u?({_QUOTED})(?:,\s*u?({_QUOTED}))?")


def sources() -> dict[Text, str]:
    """Return each text, and a place that has it."""
    found: dict[Text, str] = {}
    for package in PACKAGES:
        for path in sorted(Path(settings.BASE_DIR, package).rglob("*")):
            for text in _texts(path):
                found.setdefault(text, str(path.relative_to(settings.BASE_DIR)))
    for _, _, name in names.names():
        found.setdefault(name, "event_service/names.py")
    for _, pairs in names.choices():
        found |= {label: "event_service/names.py" for value, label in pairs if label not in found and label != value}
    for name in names.permissions():
        found.setdefault(name, "event_service/names.py")
    return found


def _texts(path: Path) -> Iterator[Text]:
    if path.suffix == ".html":
        for match in _IN_TEMPLATES.finditer(templatize(path.read_text())):
            one, many = (part and ast.literal_eval(part) for part in match.groups())
            yield (one, many) if many else one
    elif path.suffix == ".py" and "migrations" not in path.parts:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in CALLS:
                given = [each.value for each in node.args if isinstance(each, ast.Constant)]
                texts = [each for each in given if isinstance(each, str)]
                if texts:
                    yield (texts[0], texts[1]) if "ngettext" in node.func.id else texts[0]


def catalogue(language: str) -> Catalog:
    with (_folder(language) / "django.po").open("rb") as file:
        return read_po(file, language)


def compiled(catalog: Catalog) -> bytes:
    written = BytesIO()
    write_mo(written, catalog)
    return written.getvalue()


def brought_up(old: Catalog) -> Catalog:
    """Return what the sources have now, as far as `old` knows it in its language."""
    of = {"project": "event-service", "version": settings.VERSION, "creation_date": MADE, "revision_date": MADE}
    nobody = {"msgid_bugs_address": "", "last_translator": "", "language_team": ""}
    new = Catalog(old.locale, header_comment=HEADER, fuzzy=False, **of, **nobody)
    for text, place in sorted(sources().items(), key=lambda each: (each[1], str(each[0]))):
        known = old.get(text if isinstance(text, str) else text[0])
        fits = known is not None and isinstance(known.string, str) == isinstance(text, str)
        new.add(text, known.string if known and fits else None, locations=[(place, 0)])
    return new


def _folder(language: str) -> Path:
    return LOCALES / language / "LC_MESSAGES"


def main() -> None:
    for path in LOCALES.glob("*"):
        new = brought_up(catalogue(path.name))
        with (_folder(path.name) / "django.po").open("wb") as file:
            write_po(file, new, width=120, include_lineno=False)
        (_folder(path.name) / "django.mo").write_bytes(compiled(new))


if __name__ == "__main__":
    django.setup()
    main()
