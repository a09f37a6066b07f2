"""HTML as values: whatever text goes in comes out as text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_sweep.report.html import Html, element, escaped, joined, page, write_page


class Reader(HTMLParser):
    """Collects tags and text."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data: str) -> None:
        self.text += data


hostile = st.one_of(
    st.text(),
    st.text(alphabet="<>&\"'/=!-script "),
    st.sampled_from(["</script><script>alert(1)</script>", '" onload="x', "<!--", "&lt;", "\ud800", "a\x00b", "]]>"]),
)


@given(hostile, hostile)
def test_no_text_becomes_markup(content: str, attribute: str) -> None:
    read = Reader(element("p", content, title=attribute))
    assert read.tags == ["p"]
    assert [name for name, _ in read.attributes] == ["title"]
    assert read.text == Reader(escaped(content)).text


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc", "Cn"))))
def test_readable_text_is_shown_as_it_is(content: str) -> None:
    assert Reader(element("p", content)).text == content


@given(hostile)
def test_what_is_escaped_can_be_written_as_utf_8(content: str) -> None:
    assert "\x00" not in escaped(content)
    escaped(content).encode("utf-8")


def test_html_is_not_escaped_again_and_none_is_nothing() -> None:
    assert element("p", Html("<b>x</b>"), None, [" & ", None]) == "<p><b>x</b> &amp; </p>"
    assert joined(None) == ""


def test_attributes_lose_their_underscores_and_none_is_left_out() -> None:
    assert element("rect", class_="a", aria_hidden="true", x=None, y=2) == '<rect class="a" aria-hidden="true" y="2"/>'


def test_a_page_says_its_language_and_title() -> None:
    read = Reader(page("<b>title</b>", "body"))
    assert ("lang", "en") in read.attributes
    assert read.tags[:2] == ["html", "head"]
    assert "b" not in read.tags


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_page(file, Html("old"))
    file_in_the_way = tmp_path / "file"
    file_in_the_way.touch()
    with pytest.raises(OSError, match="file"):
        write_page(file_in_the_way / "report.html", Html("new"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_page(tmp_path / "folder", Html("new"))
    assert file.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "file", "folder"}
