from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.attachments import offers, serving
from app.attachments.offers import Headers, cover
from app.core.errors import Problem
from app.core.ids import new_id
from tests.attachments.sending import repr_digest

REPORT = new_id()
DIGEST = repr_digest(b"x")


def read(name: str = "a.jpg", **headers: str | None) -> offers.Offer:
    given = {"content_type": None, "content_length": "100", "content_range": None, "repr_digest": DIGEST} | headers
    return offers.read(REPORT, name, Headers(**given), most=10_000_000)


def refused(name: str = "a.jpg", **headers: str | None) -> str:
    with pytest.raises(Problem) as problem:
        read(name, **headers)
    return problem.value.kind.code


def test_a_body_without_a_range_is_the_whole_file() -> None:
    offer = read(content_length="100")

    assert (offer.first, offer.end, offer.size) == (0, 100, 100)


def test_a_range_is_a_part() -> None:
    offer = read(content_range="bytes 40-139/1000", content_length="100")

    assert (offer.first, offer.end, offer.size) == (40, 140, 1000)


@pytest.mark.parametrize("name", ["a", "IMG_2018-08-20.jpg", "_", "-", "a..b", "x" * 64])
def test_these_names_are_good(name: str) -> None:
    assert read(name).name == name


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "a\\b", "a b", "照片", "a\n", "x" * 65, "a%2Fb", 'a"b'])
def test_these_names_are_not(name: str) -> None:
    assert refused(name) == "attachment_name"


@pytest.mark.parametrize(
    "digest",
    [
        DIGEST,
        f"sha-512=:AAAA:, {DIGEST}",
        f"{DIGEST}, sha-512=:AAAA:",
        f"{DIGEST};preferred",
    ],
)
def test_the_digest_is_found_among_others(digest: str) -> None:
    assert read(repr_digest=digest).sha256 == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


@pytest.mark.parametrize("digest", [None, "", "sha-256=abc", "sha-256=:abc:", "md5=:AAAA:", "x" + DIGEST, DIGEST[:-1]])
def test_without_a_digest_nothing_is_taken(digest: str | None) -> None:
    assert refused(repr_digest=digest) == "digest_missing"


@pytest.mark.parametrize(
    ("content_range", "content_length"),
    [
        ("bytes 0-99/1000", "99"),
        ("bytes 0-99/100000000", "100"),
        ("bytes 0-99/99", "100"),
        ("bytes 5-4/99", "0"),
        ("bytes */99", "0"),
        ("bytes 0-99/*", "100"),
        ("items 0-99/100", "100"),
        ("0-99/100", "100"),
        (None, None),
        (None, "-1"),
    ],
)
def test_these_ranges_are_wrong(content_range: str | None, content_length: str | None) -> None:
    expected = "body_too_large" if content_range == "bytes 0-99/100000000" else "content_range_wrong"

    assert refused(content_range=content_range, content_length=content_length) == expected


def test_a_part_is_not_too_small_unless_it_is_the_last() -> None:
    assert refused(content_range="bytes 0-98/100000", content_length="99") == "content_range_wrong"
    assert read(content_range="bytes 0-99/100000", content_length="100").end == 100
    assert read(content_range="bytes 99999-99999/100000", content_length="1").end == 100_000
    assert read(content_range="bytes 0-0/10", content_length="1").end == 1


@pytest.mark.parametrize("kind", ["image/heic", "text/html", "audio/mp4", "image/svg+xml", "video/mp4"])
def test_other_types_are_refused_before_they_are_sent(kind: str) -> None:
    assert refused(content_type=kind) == "attachment_type"
    assert read(content_type="Image/JPEG; q=1").size == 100


def test_an_empty_file_is_none() -> None:
    assert refused(content_length="0") == "attachment_type"


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12))), st.integers(1, 12))
def test_spans_cover_a_file_when_every_byte_is_in_one(lengths: list[tuple[int, int]], size: int) -> None:
    spans = [(first, min(first + length, size)) for first, length in lengths if first < size]
    wanted = set(range(size))

    chosen = cover(spans, size)

    if set().union(*(range(*span) for span in spans)) == wanted:
        assert chosen is not None
        assert set(chosen) <= set(spans)
        assert chosen[0][0] == 0
        assert chosen[-1][1] == size
        assert all(one[1] >= after[0] and one[1] < after[1] for one, after in pairwise(chosen))
    else:
        assert chosen is None


def test_a_file_goes_out_under_a_name_that_fits_it() -> None:
    for name, kind, expected in (
        ("a.jpg", "image/jpeg", "a.jpg"),
        ("page.html", "image/jpeg", "page.jpg"),
        ("IMG", "image/png", "IMG.png"),
        ("a.b.exe", "audio/wav", "a.b.wav"),
    ):
        found = serving.headers(name, kind, "0" * 64)["Content-Disposition"]
        assert found == f'attachment; filename="{expected}"'


@pytest.mark.parametrize(
    ("sent", "matches"),
    [(None, False), ("*", True), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ('"b"', False), ("a", False)],
)
def test_a_tag_is_compared_as_http_says(sent: str | None, matches: bool) -> None:
    assert serving.matches(sent, '"a"') is matches
