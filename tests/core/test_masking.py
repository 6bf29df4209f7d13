import re
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.cn import ric

from app.core.masking import CARD, DOCUMENT, EMAIL, IDENTITY, PHONE, PLATE, mask

# Every number here is invented; identity numbers use divisions and days at random.
ID = "370783198001011238"
ID_X = "37078319900307101X"
CARD_16 = "6222021234567894"
CARD_19 = "6228480012345678903"


def test_the_samples_of_this_file_have_right_check_digits() -> None:
    assert [ric.calc_check_digit(number) for number in (ID, ID_X)] == [ID[-1], ID_X[-1]]
    assert luhn.is_valid(CARD_16)
    assert luhn.is_valid(CARD_19)


def full_width(text: str) -> str:
    return "".join(chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character for character in text)


@pytest.mark.parametrize(
    "written",
    [
        ID,
        ID_X,
        ID_X.lower(),
        "370783 19800101 1238",
        "370783-1980-0101-1238",
        "3707 8319 8001 0112 38",
        "370783 800101 123",
        "370783800101123",
    ],
)
def test_identity_numbers_are_masked(written: str) -> None:
    assert mask(f"身份证{written}的村民") == (f"身份证{IDENTITY}的村民", 1)


@pytest.mark.parametrize(
    "written",
    [
        "13800138000",
        "13008613000",
        "19912345678",
        "138 0013 8000",
        "138-0013-8000",
        "138.0013.8000",
        "138 - 0013 - 8000",
        "138–0013–8000",
        "138-00138000",
        "1380-013-8000",
        "+8613800138000",
        "+86 138 0013 8000",
        "+86-138-0013-8000",
        "(+86)13800138000",
        "（+86）138 0013 8000",
        "0086 13800138000",
        "008613800138000",
        "8613800138000",
        "86-13800138000",
        "013800138000",
        "05365221234",
        "0536-5221234",
        "(0536)5221234",
        "（0536）5221234",
        "0536 5221234",
        "0536-522-1234",
        "010-65529988",
        "(010) 6552-9988",
        "0757-82345678",
        "+86 536 5221234",
        "0086-536-5221234",
        "+44 20 7946 0958",
        "+44 (0)20 7946 0958",
        "+1 650-253-0000",
        "+852 2123 4567",
    ],
)
def test_phone_numbers_are_masked(written: str) -> None:
    assert mask(f"请拨打{written}联系") == (f"请拨打{PHONE}联系", 1)


@pytest.mark.parametrize(
    "written",
    [
        CARD_16,
        CARD_19,
        "6222 0212 3456 7894",
        "6222-0212-3456-7894",
        "6228 4800 1234 5678 903",
        "622202 1234567894",
        "4111111111111111",
        "3782 822463 10005",
        "4222222222222",
    ],
)
def test_bank_cards_are_masked(written: str) -> None:
    assert mask(f"汇到卡{written}，谢谢") == (f"汇到卡{CARD}，谢谢", 1)


@pytest.mark.parametrize(
    "written",
    [
        "鲁V12345",
        "鲁V·1A234",
        "鲁v·ab123",
        "鲁V 12345",
        "鲁V-12345",
        "川A•12345",
        "鲁V1234学",
        "粤Z1234港",
        "京AD12345",
        "沪A·F12345",
        "粤B12345D",
    ],
)
def test_plates_are_masked(written: str) -> None:
    assert mask(f"轿车{written}被困") == (f"轿车{PLATE}被困", 1)


@pytest.mark.parametrize("written", ["li.si@example.com", "a_b+c@mail.example.cn", "13800138000@example.com", "x@y.io"])
def test_e_mail_addresses_are_masked(written: str) -> None:
    assert mask(f"邮箱{written}收") == (f"邮箱{EMAIL}收", 1)
    assert mask(f"邮箱{written.replace('@', '＠')}。") == (f"邮箱{EMAIL}。", 1)


@pytest.mark.parametrize("cue", ["护照", "护照号码：", "港澳通行证号 ", "passport no. ", "Passport: "])
def test_passports_and_permits_are_masked_when_called_so(cue: str) -> None:
    assert mask(f"{cue}E12345678 遗失") == (f"{cue}{DOCUMENT} 遗失", 1)
    assert mask("物资编号 E12345678 入库") == ("物资编号 E12345678 入库", 0)


@pytest.mark.parametrize(
    ("written", "placeholder"),
    [
        (ID, IDENTITY),
        (ID_X, IDENTITY),
        ("13800138000", PHONE),
        ("+86-138-0013-8000", PHONE),
        ("(0536)5221234", PHONE),
        (CARD_16, CARD),
        ("li.si@example.com", EMAIL),
    ],
)
def test_full_width_writing_is_masked_and_what_is_around_it_is_kept_as_typed(written: str, placeholder: str) -> None:
    assert mask(f"ＡＢ１２　{full_width(written)}　水位１８．６ｍ") == (f"ＡＢ１２　{placeholder}　水位１８．６ｍ", 1)
    assert mask("鲁Ｖ·１２３４５") == (PLATE, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "一切正常，无险情",
        "村 370783108201 报告，镇 370783108000",
        "370783108201 320 人，370783108202 15 人",
        "位置 36.9, 118.9",
        "36.88123456789,118.73812345678",
        "118.13800138000, 36.13912345678",
        "lat 36.8812345678901 lon 118.7381234567890123",
        "+36.9000+118.9000/ 和 +3690+11890",
        "2018-08-20 04:12",
        "2018-08-20T04:12:00+08:00 2018-08-20T04:12:00.123456Z",
        "20180820 20180820041200 201808200412 20180820041200123",
        "2018年8月20日4时12分，2018/08/20 04:12:33",
        "0412 20180820 135 20180820",
        "0412 850 1200 下泄",
        "2018 2019 2020 2021 年汛期",
        "1534709520 1534709520000",
        "水位 18.65 m，堤顶 21.30 m，泄量 1800 m3/s，1 850 m3/s",
        "三库下泄 1800 1500 900 立方",
        "损失 12800000 元，合 1280.5 万元，12,800,000.00 元",
        "转移 1200 人，房屋 86 间，大棚 20000 个",
        "UUID 0190163d-8694-739b-aea5-966c26f8ad90 12345678-1234-4123-8123-413800138000",
        "5f0ee13800138000af0ee13800138000",
        "热线 110 119 120 12345 12350，400-820-8820，4008208820，0536-12345",
        "G20 青银高速 K1500+200，省道 S226，更新G3012",
        "新COVID 新ABCDE 云SERVER 川WIFI6",
        "QQ 群 @所有人 @张 a@b 5@7.5",
        "192.168.100.200:8080 v1.2.3",
        "370783198001011232",
        "370783198013011233",
        "6222021234567895",
        "10138001380001",
        "12345678901",
    ],
)
def test_figures_of_an_event_are_never_masked(text: str) -> None:
    assert mask(text) == (text, 0)


@pytest.mark.parametrize(
    ("text", "masked", "count"),
    [
        ("电话13800138000马上", f"电话{PHONE}马上", 1),
        ("13800138000，13900139000", f"{PHONE}，{PHONE}", 2),
        ("138 0013 8000 139 0013 9000", f"{PHONE} {PHONE}", 2),
        ("0536 5221234 13800138000", f"{PHONE} {PHONE}", 2),
        ("2018-08-20 04:12 13800138000", f"2018-08-20 04:12 {PHONE}", 1),
        ("2018.08.20.13800138000", f"2018.08.20.{PHONE}", 1),
        ("1.13800138000\n2.13900139000", f"1.{PHONE}\n2.{PHONE}", 2),
        ("13800138000.13900139000", f"{PHONE}.{PHONE}", 2),
        ("86 13800138000", f"86 {PHONE}", 1),
        ("转移12人 138 0013 8000", f"转移12人 {PHONE}", 1),
        ("Tel:13800138000ok", f"Tel:{PHONE}ok", 1),
        ("13800138000转801", f"{PHONE}转801", 1),
        ("4111 1111 1111 1111 138 0013 8000", f"{CARD} {PHONE}", 2),
        (f"{ID} 13800138000 {CARD_16}", f"{IDENTITY} {PHONE} {CARD}", 3),
        (f"{ID}/{ID_X}", f"{IDENTITY}/{IDENTITY}", 2),
        ("鲁V1234A13800138000", f"{PLATE}{PHONE}", 2),
        ("鲁V·AA123.13900139000", f"{PLATE}.{PHONE}", 2),
        ("a@b.comc@d.com", f"{EMAIL}@d.com", 1),
        ("甲 a@b.cn；乙 c@d.cn", f"甲 {EMAIL}；乙 {EMAIL}", 2),
        ("护照 E12345678，鲁V12345", f"护照 {DOCUMENT}，{PLATE}", 2),
    ],
)
def test_identifiers_among_other_text_are_masked_one_by_one(text: str, masked: str, count: int) -> None:
    assert mask(text) == (masked, count)
    assert mask(masked) == (masked, 0)


PIECES = (
    f"{ID}|{ID_X}|{ID_X[:-1]}|{CARD_16}|{CARD_19}|370783800101123|370783108201|13800138000|138|0013|8000|139|0536|5221234|"
    "86|0086|+|+86|6222|4111|1111|370783|19800101|1238|118|36|12|2018|08|20|7|12345678-1234-4123-8123-|123456789012|"
    "鲁V|鲁V12345|鲁V1234A|鲁V·|D12345|A|E|V|学|护照|passport|no|E1234567|x|X|a|@|＠|a@b.cn|.com|.cn|"
    " | |-|-|.|.|(|)|·|，|\n|１３８|－|水位|人|[电话 phone]|[|]|\u3000|Ⅳ|٣"
)
MIXED = st.lists(st.sampled_from(PIECES.split("|")), max_size=14).map("".join) | st.text(
    alphabet="0123456789 -.()+xX@ab鲁VE护照　１＠·", max_size=60
)


@given(MIXED)
@example("622202 1234567894.13900139000")
def test_masking_what_is_masked_changes_nothing(text: str) -> None:
    masked, _ = mask(text)

    assert mask(masked) == (masked, 0)


@given(MIXED)
def test_masking_makes_no_new_run_of_digits_and_counts_its_placeholders(text: str) -> None:
    masked, count = mask(text)

    assert set(re.findall("[0-9０-９]+", masked)) <= set(re.findall("[0-9０-９]+", text))
    placeholders = (IDENTITY, PHONE, CARD, PLATE, EMAIL, DOCUMENT)
    assert sum(masked.count(each) - text.count(each) for each in placeholders) == count
    assert (masked == text) == (count == 0)


@given(st.text(alphabet=st.characters(exclude_categories=["Nd"], exclude_characters="@＠")))
def test_text_without_digits_and_at_signs_is_unchanged(text: str) -> None:
    assert mask(text) == (text, 0)


CHINESE = st.text(alphabet="村民王庄水位上涨请速联系电话号码被困新云川，。：（）", max_size=12)


@st.composite
def identities(draw: st.DrawFn) -> str:
    division = draw(st.sampled_from(["370783", "110101", "440305", "650102", "810000"]))
    born = draw(st.dates(date(1920, 1, 1), date(2018, 8, 20)))
    number = f"{division}{born:%Y%m%d}{draw(st.integers(0, 999)):03}"
    number += ric.calc_check_digit(number + "0")
    return draw(
        st.sampled_from([number, number.lower(), full_width(number), f"{number[:6]} {number[6:14]} {number[14:]}"])
    )


@st.composite
def mobiles(draw: st.DrawFn) -> str:
    number = draw(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True))
    gap = draw(st.sampled_from(["", " ", "-", "－"]))
    prefix = draw(st.sampled_from(["", "+86", "+86 ", "+86-", "0086", "0086-", "86", "(+86)"]))
    written = f"{prefix}{number[:3]}{gap}{number[3:7]}{gap}{number[7:]}"
    return draw(st.sampled_from([written, full_width(written)]))


@st.composite
def cards(draw: st.DrawFn) -> str:
    stem = draw(st.from_regex(r"(?:62|4[0-9]|5[1-5]|9[0-9])[0-9]{13,16}", fullmatch=True))
    number = stem + luhn.calc_check_digit(stem)
    gap = draw(st.sampled_from(["", " ", "-"]))
    return gap.join(number[start : start + 4] for start in range(0, len(number), 4))


@given(CHINESE, identities() | mobiles() | cards(), CHINESE)
def test_a_valid_number_anywhere_in_chinese_text_leaves_no_digit(before: str, number: str, after: str) -> None:
    masked, count = mask(before + number + after)

    assert count == 1
    assert not re.search(r"\d", masked)
    assert masked.startswith(before)
    assert masked.endswith(after)
