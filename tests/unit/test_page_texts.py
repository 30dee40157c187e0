"""The texts in the markup of the pages `/play` and `/verify`: each stands where another language can take its place."""

import re
from html.parser import HTMLParser

import pytest

from gateway.web import playing, verifying
from keno.texts.languages import ENGLISH

VOID = {"br", "img", "input", "link", "meta"}
PAGES = {
    "play": playing.page(ENGLISH, [ENGLISH], ["https://keno.example"], [], ""),
    "verify": verifying.page(ENGLISH),
}


class Markup(HTMLParser):
    """Collects what is written outside of an element with `data-text`, and what differs from it inside."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str | None] = []
        self.untranslated: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.said.append(dict(attrs).get("data-text"))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            self.said.pop()

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if re.search(r"[^\W\d_]", text) and text != self.said[-1]:
            self.untranslated.append(text)


@pytest.mark.parametrize("name", PAGES)
def test_no_text_of_a_page_stands_outside_of_what_is_said_in_other_languages(name: str) -> None:
    markup = Markup()
    markup.feed(PAGES[name].body.decode())
    markup.close()
    assert (markup.said, markup.untranslated) == ([], [])


def test_a_text_that_no_other_language_can_replace_is_found() -> None:
    markup = Markup()
    markup.feed('<p data-text="Keys">Keys <code>jwks.json</code></p><p>Answers <b data-text="ok">OK</b> +</p>')
    assert markup.untranslated == ["jwks.json", "Answers", "OK"]
