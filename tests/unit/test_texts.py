"""The languages of texts: which one is asked for, and that each has everything that can be said."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wording import close_reasons, needed, numbers, placeholders

from gateway.live.wire import REASON_BYTES_MAX, reason_bytes
from gateway.problems import KINDS, PLAYER_REMEDIES, problem, problem_of
from keno.phrases import phrase_of, said, worded
from keno.requests import RequestError, decode_as
from keno.texts import languages
from keno.texts.catalog import entries, shipped
from keno.texts.languages import DEFAULT, ENGLISH, LANGUAGES, Language, language_of_header, language_of_locale

OTHERS = tuple(language for language in LANGUAGES if language != DEFAULT)
# Texts that are the same in another language, because they are names.
SAME = {("de", "Keno"), ("es", "Keno"), ("pt", "Keno")}


@pytest.mark.parametrize("language", OTHERS)
def test_everything_that_can_be_said_is_there_in_every_language_and_nothing_else(language: str) -> None:
    assert {entry.text_id: entry.english for entry in entries(language)} == needed()


@pytest.mark.parametrize("language", OTHERS)
def test_no_text_is_left_in_english_and_none_is_there_twice(language: str) -> None:
    listed = [entry.text_id for entry in entries(language)]
    assert len(listed) == len(set(listed))
    left = [each for each in entries(language) if each.translation == each.english]
    assert [(language, each.text_id) for each in left if (language, each.text_id) not in SAME] == []


@pytest.mark.parametrize("language", OTHERS)
def test_translations_have_the_placeholders_and_numbers_of_the_english(language: str) -> None:
    for entry in entries(language):
        assert placeholders(entry.translation) == placeholders(entry.english), entry
        missing = [each for each in numbers(entry.english) if each not in numbers(entry.translation)]
        assert missing == [], entry


def test_japanese_is_written_in_japanese() -> None:
    for entry in entries("ja"):
        bare = re.sub(r"\{[^}]*\}", "", entry.translation)
        assert re.search(r"[ぁ-んァ-ヶ一-龠]", bare), entry


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", KINDS)
def test_a_problem_of_every_code_is_said_in_every_language(code: str, language: str) -> None:
    answer = problem(code, language=Language(language, shipped(language)))
    members = msgspec.json.decode(answer.body)
    assert answer.headers["Content-Language"] == language
    assert (members["code"], members["type"], members["status"]) == (code, f"/problems/{code}", KINDS[code].status)
    is_english = (members["title"], members["remedy"]) == (KINDS[code].title, KINDS[code].remedy)
    assert is_english is (language == DEFAULT)
    assert members["detail"] == members["title"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_players_are_told_something_else_in_every_language_where_they_can_do_something_else(language: str) -> None:
    engineers = Language(language, shipped(language))
    for code in KINDS:
        said_to = [
            msgspec.json.decode(problem(code, language=each).body) for each in (engineers, engineers.to_players())
        ]
        remedies = [each.pop("remedy") for each in said_to]
        assert said_to[0] == said_to[1]
        assert (remedies[0] != remedies[1]) is (code in PLAYER_REMEDIES), code
        if code in PLAYER_REMEDIES:
            assert (remedies[1] == PLAYER_REMEDIES[code]) is (language == DEFAULT)
    assert set(PLAYER_REMEDIES) <= set(KINDS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_to_close_a_connection_fits_into_its_frame_in_every_language(language: str) -> None:
    told = Language(language, shipped(language))
    reasons = close_reasons()
    assert len(reasons) == 11
    for reason in reasons:
        longest = told.phrase(said(reason, most=16_384, after_ms=999_999, seconds=10.0))
        assert reason_bytes(longest) == longest.encode()


def test_a_reason_that_somebody_made_too_long_is_cut_between_two_characters() -> None:
    cut = reason_bytes("ab" + "\u6587" * 100)
    assert len(cut) <= REASON_BYTES_MAX < len(cut) + 3
    assert cut.decode() == "ab" + "\u6587" * 40


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("DE-at", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en;q=0.8, pt-BR", "pt"),
        ("fr, es;q=0.5, en;q=0.4", "es"),
        ("fr-CH, fr", "en"),
        ("ja;q=0.3, es;q=0.7", "es"),
        ("ja, es", "ja"),
        ("*", "en"),
        ("fr, *;q=0.1", "en"),
        ("en;q=0, *", "de"),
        ("en, de;q=0, es;q=0, pt;q=0, *;q=0.5", "en"),
        ("de;q=0", "en"),
        ("de;q=0.000, es;q=0.001", "es"),
        ("de;q=0, de-AT", "en"),
        ("de ; q=0.5 , ja", "ja"),
        (",, de ,", "de"),
        ("", "en"),
        ("zh-Hant-TW, ja", "ja"),
        ("de;q=2", "en"),
        ("de;q=x", "en"),
        ("de;q=0.5555", "en"),
        ("de;level=1", "en"),
        ("d\u00e9", "en"),
        ("de,\x00", "en"),
        ("toolongasubtag", "en"),
        ("de," + "x" * 600, "en"),
        (", ".join(["de"] * 33), "en"),
    ],
)
def test_accept_language_is_negotiated(header: str, language: str) -> None:
    assert language_of_header([header]) == language


def test_several_headers_are_one_list() -> None:
    assert language_of_header(["fr", "de;q=0.5"]) == "de"
    assert language_of_header([]) == "en"


def test_a_header_longer_than_any_browsers_is_not_kept() -> None:
    kept = languages._negotiated.cache_info().currsize
    assert language_of_header(["de," + "x" * 100_000]) == "en"
    assert languages._negotiated.cache_info().currsize == kept


@given(st.lists(st.text(), max_size=3))
def test_whatever_the_header_says_there_is_a_language(values: list[str]) -> None:
    assert language_of_header(values) in LANGUAGES


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("en", "en"),
        ("pt-BR", "pt"),
        ("de-CH", "de"),
        ("ja", "ja"),
        ("zh-Hant-TW", "en"),
        ("es-419", "es"),
        ("deu", "en"),
    ],
)
def test_a_session_has_the_language_of_its_locale(locale: str, language: str) -> None:
    assert language_of_locale(locale) == language


def test_a_phrase_is_its_english_and_can_be_said_otherwise() -> None:
    german = Language("de", {"you have {count} of {name!r}": "{name!r}: {count}", "nothing": "nichts"})
    phrase = said("you have {count} of {name!r}", count=2, name="{x}")
    assert phrase == "you have 2 of '{x}'"
    assert german.phrase(phrase) == "'{x}': 2"
    assert german.phrase("nothing") == "nichts"
    assert german.phrase("unknown {text}") == "unknown {text}"
    assert type(ENGLISH.phrase(phrase)) is type(german.phrase(phrase)) is str
    assert german.phrase(worded("somebody's words", "nothing")) == "nichts"
    assert phrase_of(ValueError(phrase)) is phrase
    assert phrase_of(ValueError()) == ""


def test_what_a_body_has_wrong_is_said_in_the_language_with_its_values() -> None:
    class Asked(msgspec.Struct, forbid_unknown_fields=True):
        count: int

    german = Language("de", shipped("de"))
    decoder = msgspec.json.Decoder(Asked)
    said_of = {
        b'{"count":"x"}': "erwartet wird `int`, nicht `str`",
        b'{"count":1,"more":2}': "es gibt kein Feld 'more'",
        b"{}": "das Feld 'count' fehlt",
        b'{"count":1}}': "der Body ist kein JSON, wie Byte 12 zeigt",
        b'{"count"': "der Body ist kein JSON",
    }
    for body, detail in said_of.items():
        with pytest.raises(RequestError) as refused:
            decode_as(decoder, body)
        assert msgspec.json.decode(problem_of(refused.value, german).body)["detail"] == detail
