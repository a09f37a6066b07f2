"""HTML as values: an element escapes what it is given unless that is HTML already, so that nothing untrusted slips in.

A page is one file: style inside, scripts inside where it asks for some, nothing fetched from anywhere.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from hrm_sweep.runs import replaced_atomically

_UNSPEAKABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What HTML or UTF-8 does not allow: control characters, and halves of a pair, from undecodable file names."""

_VOID = frozenset({"br", "meta", "rect", "circle", "path"})  # what has no end tag while it is empty


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | None | Iterable["Content"]


def escaped(text: str) -> Html:
    """Text as HTML that shows it, inside an element or between quotes."""
    return Html(html.escape(_UNSPEAKABLE.sub("\ufffd", text)))


def joined(*content: Content) -> Html:
    """Several pieces after each other; None is nothing, a plain string is text."""
    return Html("".join(_pieces(content)))


def _pieces(content: Content) -> Iterable[str]:
    if isinstance(content, Html):
        yield content
    elif isinstance(content, str):
        yield escaped(content)
    elif content is not None:
        for each in content:
            yield from _pieces(each)


def element(name: str, /, *content: Content, **attributes: str | float | int | None) -> Html:
    """`<name attribute="...">content</name>`.

    An attribute that is None is left out. Python's words get an underscore at their end (`class_`), and underscores
    inside stand for hyphens (`aria_label`).
    """
    spelled = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not content:
        return Html(f"<{name}{spelled}/>")
    return Html(f"<{name}{spelled}>{joined(*content)}</{name}>")


@cache
def _shipped(name: str) -> Html:
    """A style sheet or a script that lies beside this file."""
    return Html(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def page(title: str, *body: Content, styles: Iterable[str] = (), scripts: Iterable[str] = ()) -> Html:
    """A whole page. `styles` and `scripts` name files beside this one that it needs besides style.css."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        (element("style", _shipped(name)) for name in ("style.css", *styles)),
    )
    last = (element("script", _shipped(name)) for name in scripts)
    return joined(Html("<!doctype html>\n"), element("html", head, element("body", *body, last), lang="en"), Html("\n"))


def write_page(path: Path, content: Html) -> None:
    """Write a page whole or not at all. Raises OSError, and DiskFullError when there is no room."""
    with replaced_atomically(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
