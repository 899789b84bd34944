"""What is the same text but for case."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mission_system.core.chat.search.case import Wanted, composed_form

SAME = [
    ("straße", "STRASSE"),
    ("STRASSE", "straße"),
    ("ẞ", "ss"),
    ("σίσυφος", "ΣΊΣΥΦΟΣ"),
    ("ΣΑΣ", "σας"),
    ("İSTANBUL", "i̇stanbul"),
    ("i̇", "İ"),
    ("ﬁn", "FIN"),
    ("ПРИВЕТ", "привет, мир"),
    ("שלום", "אמר שלום"),
    ("日本", "我在日本語"),
    ("👩‍💻", "hi 👩‍💻!"),
    ("é", "e\u0301"),
    ("e\u0301", "É"),
    ("한국", normalize("NFD", "한국어")),
    ("\u0345\u0301", "\u0301\u0345"),
]
DIFFERENT = [
    ("e", "é"),
    ("istanbul", "İstanbul"),
    ("ı", "i"),
    ("A", "Ａ"),
    ("ss", "s"),
    ("日", "曰"),
]


@pytest.mark.parametrize(("query", "text"), SAME)
def test_case_and_composition_make_no_difference(query: str, text: str) -> None:
    assert Wanted.of(query).is_in(text)


@pytest.mark.parametrize(("query", "text"), DIFFERENT)
def test_other_characters_are_other_characters(query: str, text: str) -> None:
    assert not Wanted.of(query).is_in(text)


texts = st.text(st.sampled_from("aAsSßſİıiΣσςéeÉ\u0301\u0345ᾳ日🙂한\u1112\u1161 %"), max_size=12)


@given(texts, texts, texts)
@example("a", "\u0301", "")
def test_a_text_contains_each_of_its_pieces(before: str, piece: str, after: str) -> None:
    text = before + piece + after
    if piece:
        wanted = Wanted.of(piece)
        assert wanted.is_in(text)
        assert wanted.is_in(text.upper().lower()) or not Wanted.of(text).is_in(text.upper().lower())


@given(texts, texts)
def test_canonically_equal_texts_contain_the_same(query: str, text: str) -> None:
    if query:
        composed = [Wanted.of(normalize(form, query)) for form in ("NFC", "NFD")]
        found = {each.composed in Wanted.of(normalize("NFD", text)).composed for each in composed}
        assert found == {Wanted.of(query).composed in Wanted.of(text).composed}


def test_places_are_whole_characters_of_the_text() -> None:
    assert Wanted.of("S").places("aßbs") == [(1, 2), (3, 4)]
    assert Wanted.of("ss").places("STRASSE, straße") == [(4, 6), (13, 14)]
    assert Wanted.of("é").places("x e\u0301 É") == [(2, 4), (5, 6)]
    assert Wanted.of("한").places("a\u1112\u1161\u11abb") == [(1, 4)]
    assert Wanted.of("aa").places("aaaa a") == [(0, 2), (2, 4)]
    assert Wanted.of("x").places("abc") == []


@given(texts, texts)
def test_places_lie_in_the_text_in_order(query: str, text: str) -> None:
    if query:
        places = Wanted.of(query).places(text)
        ends = [0, *(end for _, end in places)]
        assert all(end <= start for end, (start, _) in zip(ends, places, strict=False))
        assert all(0 <= start < end <= len(text) for start, end in places)
        if Wanted.of(query).plain in Wanted.of(text).plain:
            assert places


@pytest.mark.parametrize(
    "text", ["\u1fb4", "\u1f84x", "\u03b1\u0345\u0301", "\u1fb3\u0323", "e\u1f80\u0323"]
)
def test_the_iota_below_is_the_same_however_it_is_written(text: str) -> None:
    forms = {composed_form(normalize(form, text)) for form in ("NFC", "NFD")}
    assert forms == {composed_form(text)}
    assert len(forms) == 1
