"""Secrets never leave the file, and offsets stay."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from spinner_executor.domain.masking import Masker, valid_utf8, whole_lines


def test_a_secret_is_masked_in_every_form_it_is_printed_in() -> None:
    masker = Masker(['pa"ss/\\wo rd'])
    plain, in_url, in_form = 'pa"ss/\\wo rd', "pa%22ss/%5Cwo%20rd", "pa%22ss%2F%5Cwo+rd"
    for form in (plain, 'pa\\"ss/\\\\wo rd', repr(plain), in_url, in_form):
        assert not {b"pa", b"rd"} & set(re.findall(rb"[a-z]{2}", masker.mask(form.encode()))), form


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    masker = Masker(["-----BEGIN KEY-----\nabcdef\n"])
    assert masker.mask(b"abcdef") == b"******"


def test_short_words_and_nothing_are_not_masked() -> None:
    assert Masker(["a", "", "42"]).mask(b"a 42") == b"a 42"


def test_the_longer_of_two_overlapping_secrets_wins() -> None:
    assert Masker(["secret", "secretkey"]).mask(b"secretkey") == b"*" * 9


@given(st.binary(max_size=200), st.lists(st.text(min_size=4, max_size=8), max_size=3))
def test_masking_keeps_the_length_and_gives_utf8(text: bytes, secrets: list[str]) -> None:
    masked = Masker(secrets).mask(text)
    assert len(masked) == len(text)
    masked.decode()


def test_only_whole_lines_are_passed_on_and_a_long_line_is_cut_between_characters() -> None:
    assert whole_lines(b"one\ntwo", 100) == b"one\n"
    assert whole_lines(b"half", 100) == b""
    text = "äöü".encode() * 4
    cut = whole_lines(text[:9], 9)
    assert 6 <= len(cut) <= 9
    cut.decode()


def test_invalid_bytes_become_question_marks_one_by_one() -> None:
    assert valid_utf8(b"a\xff\xfeb\xc3") == b"a??b?"


def test_random_bytes_cost_no_more_than_text() -> None:
    import random
    import time

    noise = random.Random(1).randbytes(1 << 20)
    begun = time.process_time()
    assert len(valid_utf8(noise)) == len(noise)
    assert time.process_time() - begun < 2
