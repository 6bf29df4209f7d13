import codecs

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.core import problems
from app.core.errors import Problem
from app.nodes.csvfile import Row, parse

HEADER = "code,name,tier,parent_code\n"
CITY = "370700000000,演练市,city,\n"


def refusal(content: bytes | str) -> Problem:
    with pytest.raises(Problem) as caught:
        parse(content if isinstance(content, bytes) else content.encode())
    assert caught.value.kind is problems.CSV_INVALID
    return caught.value


def wrong(line: str, header: str = HEADER) -> set[tuple[int, str]]:
    parsed = parse((header + CITY.replace("\n", "," * (header.count(",") - 3) + "\n") + line).encode())
    return {(error.line, error.code) for error in parsed.errors}


def test_a_file_is_read_with_what_it_says_of_each_node() -> None:
    parsed = parse(
        b"population,code,name,tier,parent_code,lon,lat\n"
        b",c,City,city,,,\n"
        b"\n"
        b' 820 , v-1 ," Village, upper ",village, t ,118.9,-36.95\n'
    )

    assert parsed.errors == []
    assert parsed.rows == [
        Row(2, "c", "City", "city", None, None, None, None),
        Row(4, "v-1", "Village, upper", "village", "t", -36.95, 118.9, 820),
    ]
    assert parsed.columns == {"code", "name", "tier", "parent_code", "lat", "lon", "population"}


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_and_any_line_ends_are_accepted(ends: str) -> None:
    content = codecs.BOM_UTF8 + (HEADER + CITY + "x,,town,\n").replace("\n", ends).encode()

    parsed = parse(content)

    assert [row.name for row in parsed.rows] == ["演练市"]
    assert [error.line for error in parsed.errors] == [3]


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "utf-16", "utf-16-le", "utf-16-be"])
def test_another_encoding_is_refused_with_what_to_do(encoding: str) -> None:
    problem = refusal((HEADER + CITY).encode(encoding))

    assert "save it as CSV UTF-8" in problem.body()["detail"]
    assert "请另存为 CSV UTF-8" in problem.body("zh")["detail"]


def test_the_line_that_is_not_utf8_is_named() -> None:
    assert "line 3 " in refusal((HEADER + "c,City,city,\n").encode() + "t,镇,town,c\n".encode("gbk")).body()["detail"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "first line is empty"),
        ("\n", "first line is empty"),
        (codecs.BOM_UTF8, "first line is empty"),
        (HEADER, "has no rows"),
        (HEADER + "\n ,,\n", "has no rows"),
        ("code,name,tier\nc,City,city\n", "lacks the column parent_code"),
        ("code;name;tier;parent_code\nc;City;city;\n", "lacks the column code"),
        ("code,name,tier,parent_code,boss\nc,City,city,,x\n", "'boss' is unknown"),
        ("code,name,tier,parent_code,name\nc,City,city,,x\n", "stands twice"),
        (HEADER + "c,Ci\x00ty,city,\n", "line 2 has a NUL"),
        (HEADER + CITY + 't,"Town,town,c\n', "line 3 is not CSV"),
        (HEADER + CITY + f"t,{'长' * 200_000},town,c\n", "line 3 is not CSV"),
    ],
)
def test_a_file_without_rows_to_judge_is_refused_whole(content: bytes | str, words: str) -> None:
    problem = refusal(content)

    assert words in problem.body()["detail"]
    assert problem.body("zh")["detail"].startswith("无法读取文件：")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (",镇,town,c", "code"),
        ("a b,镇,town,c", "code"),
        ("代码,镇,town,c", "code"),
        ("x" * 33 + ",镇,town,c", "code"),
        ("t,,town,c", "name"),
        ("t," + "镇" * 81 + ",town,c", "name"),
        ("t,镇\x07,town,c", "name"),
        ('t,"镇\n二",town,c', "name"),
        ("t,\u202e镇,town,c", "name"),
        ("t,张某 13912345678,town,c", "name_personal"),
        ("t,镇,county,c", "tier"),
        ("t,镇,,c", "tier"),
        ("t,镇,town,c d", "parent"),
        ("t,镇,town," + "x" * 33, "parent"),
        ("t,镇,town", "fields"),
        ("t,镇,town,c,d", "fields"),
    ],
)
def test_a_wrong_line_is_named_with_its_code_and_words(line: str, code: str) -> None:
    parsed = parse((HEADER + CITY + line + "\nv,村,village,t\n").encode())

    (error,) = parsed.errors
    assert (error.line, error.code) == (3, code)
    assert error.message
    assert any("\u4e00" <= character <= "\u9fff" for character in error.message_zh)
    assert [row.code for row in parsed.rows] == ["370700000000", "v"]


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("90.1,0,", "location"),
        ("0,180.1,", "location"),
        ("-91,0,", "location"),
        ("nan,0,", "location"),
        ("inf,0,", "location"),
        ("1_0,0,", "location"),
        ("1e1,0,", "location"),
        ("３６,0,", "location"),
        ("36.9,,", "location"),
        (",118.9,", "location"),
        ("north,118.9,", "location"),
        (",,-1", "population"),
        (",,1.5", "population"),
        (",,many", "population"),
        (",,2000000001", "population"),
    ],
)
def test_a_place_or_population_out_of_range_is_an_error(place: str, code: str) -> None:
    assert wrong(f"t,镇,town,c,{place}\n", "code,name,tier,parent_code,lat,lon,population\n") == {(3, code)}


def test_the_limits_themselves_are_accepted() -> None:
    name, code = "镇" * 80, "x" * 32
    line = f"{code},{name},town,c,-90,180.0,2000000000\n"
    assert wrong(line, "code,name,tier,parent_code,lat,lon,population\n") == set()


def test_all_that_is_wrong_with_a_line_is_said_at_once() -> None:
    assert wrong("!,,county,c\n") == {(3, "code"), (3, "name"), (3, "tier")}


def test_lines_after_a_quoted_line_break_keep_their_numbers() -> None:
    parsed = parse((HEADER + CITY + 't,"镇\n二",town,c\nu,,town,c\n').encode())

    assert [(error.line, error.code) for error in parsed.errors] == [(3, "name"), (5, "name")]


def test_an_error_shows_nothing_that_a_terminal_would_obey() -> None:
    (error,) = parse((HEADER + "\x1b[2J,镇,town,c\n").encode()).errors

    assert error.node == "?[2J"


@given(st.binary(max_size=300), st.booleans())
@example(b'"', True)
@example(b"\r\r\n", True)
@example(codecs.BOM_UTF16_LE, False)
def test_whatever_the_bytes_they_are_rows_or_errors_or_refused(content: bytes, with_header: bool) -> None:
    judge((HEADER.encode() if with_header else b"") + content)


@given(st.text('ct,"\r\n 1.é村\x1b\u202e', max_size=80))
def test_whatever_the_text_under_a_header_it_is_rows_or_errors_or_refused(text: str) -> None:
    judge((HEADER + text).encode())


def judge(content: bytes) -> None:
    try:
        parsed = parse(content)
    except Problem as problem:
        assert problem.kind is problems.CSV_INVALID
        assert problem.body()["detail"]
        return
    assert parsed.rows or parsed.errors
    lines = [row.line for row in parsed.rows]
    assert lines == sorted(set(lines))
    assert not set(lines) & {error.line for error in parsed.errors}
    assert min(lines, default=2) >= 2
