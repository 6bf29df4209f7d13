"""Photos and recordings are made anew: nothing of the old file goes over but its picture or its sound."""

import io
import struct
import wave
import zipfile
import zlib
from typing import Any

import pytest
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from app.attachments.media import Limits, Unfit, remake
from tests.attachments.sending import GPS, exif, opened, picture, sound

LIMITS = Limits(pixels=1_000_000, longest_side=200, seconds=3)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width: int, height: int) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + body + png_chunk(b"IEND", b"")


def webp_claiming(width: int, height: int) -> bytes:
    head = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (width - 1).to_bytes(3, "little")
    head += (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(head) + 4) + b"WEBP" + head


def jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(picture())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("evil.html", "<script>alert(1)</script>")
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_no_metadata_goes_over(kind: str) -> None:
    options: dict[str, Any] = {
        "exif": exif(),
        "icc_profile": b"SecretProfile",
        "xmp": b"<x:xmpmeta>SecretXmp</x:xmpmeta>",
    }
    if kind == "JPEG":
        options["comment"] = b"SecretComment"
    if kind == "PNG":
        options.pop("xmp")
        text = PngImagePlugin.PngInfo()
        text.add_text("Author", "SecretAuthor")
        options["pnginfo"] = text
    data = picture(kind=kind, **options)
    assert GPS in data

    made = remake(data, LIMITS)

    assert GPS not in made.data
    assert b"Secret" not in made.data
    assert b"Exif" not in made.data
    image = opened(made.data)
    assert dict(image.getexif()) == {}
    assert not {"exif", "icc_profile", "comment", "xmp", "Author"} & set(image.info)


def test_a_photo_stands_upright_without_its_exif() -> None:
    made = remake(picture((60, 40), exif=exif()), LIMITS)

    assert (made.width, made.height) == (40, 60)
    red, _, blue = opened(made.data).convert("RGB").getpixel((20, 5))  # type: ignore[misc]  # a colour has three
    assert red > 200 > 60 > blue


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("tail", [archive(), b"<html><script>alert(1)</script></html>", b"%PDF-1.7 evil"])
def test_what_hangs_on_a_photo_is_cut_off(kind: str, tail: bytes) -> None:
    made = remake(picture(kind=kind) + tail, LIMITS)

    assert tail not in made.data
    assert b"evil" not in made.data
    assert b"script" not in made.data
    assert not zipfile.is_zipfile(io.BytesIO(made.data))


@pytest.mark.parametrize(
    "bomb",
    [png_claiming(50_000, 50_000), webp_claiming(16_000, 16_000), jpeg_claiming(60_000, 60_000)],
    ids=["PNG", "WEBP", "JPEG"],
)
def test_a_bomb_is_refused_by_its_header_and_never_decoded(bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(_image: object) -> None:
        raise AssertionError("decoded")

    for image in (PngImagePlugin.PngImageFile, WebPImagePlugin.WebPImageFile, JpegImagePlugin.JpegImageFile):
        monkeypatch.setattr(image, "load", decode)

    with pytest.raises(Unfit) as refused:
        remake(bomb, LIMITS)

    assert refused.value.why == "pixels"
    with pytest.raises(Unfit, match="broken"):
        remake(picture(), LIMITS)


def test_a_photo_that_is_drawn_over_and_over_is_refused() -> None:
    data = picture((300, 300), progressive=True)
    last = data.rindex(b"\xff\xda")
    often = data[:last] + data[last:-2] * 100 + data[-2:]
    # Scans of the small picture within, and of what hangs on, are none of this one's.
    inner = picture(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + b"\xff\xda" * 100) + b"\xff\xda" * 100

    assert remake(data, LIMITS).width == 200
    assert remake(inner, LIMITS).width == 60
    with pytest.raises(Unfit, match="broken"):
        remake(often, LIMITS)


def test_a_photo_of_just_the_limit_is_taken_and_one_row_more_is_not() -> None:
    assert remake(picture((1000, 1000)), LIMITS).width == 200

    with pytest.raises(Unfit, match="pixels"):
        remake(picture((1000, 1001)), LIMITS)


def test_a_photo_is_kept_no_larger_than_the_longest_side_and_never_enlarged() -> None:
    large, small = remake(picture((900, 300)), LIMITS), remake(picture((60, 40)), LIMITS)

    assert (large.width, large.height) == (200, 67)
    assert (small.width, small.height) == (60, 40)


@pytest.mark.parametrize(
    ("mode", "kind", "kept"),
    [
        ("RGB", "PNG", "image/jpeg"),
        ("L", "JPEG", "image/jpeg"),
        ("CMYK", "JPEG", "image/jpeg"),
        ("1", "PNG", "image/jpeg"),
        ("P", "PNG", "image/jpeg"),
        ("I;16", "PNG", "image/jpeg"),
        ("RGBA", "WEBP", "image/jpeg"),
    ],
)
def test_every_kind_of_colours_is_kept(mode: str, kind: str, kept: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (30, 20)).save(out, kind) if mode != "RGBA" else Image.new(mode, (30, 20), "red").save(out, kind)

    made = remake(out.getvalue(), LIMITS)

    assert made.content_type == kept
    assert opened(made.data).size == (30, 20)


def test_what_shows_through_is_kept_as_png() -> None:
    image = Image.new("RGBA", (30, 20), (255, 0, 0, 90))
    out = io.BytesIO()
    image.save(out, "PNG")

    made = remake(out.getvalue(), LIMITS)

    assert made.content_type == "image/png"
    assert opened(made.data).getpixel((3, 3)) == (255, 0, 0, 90)


def test_of_several_pictures_the_first_is_kept() -> None:
    first, second = Image.new("RGB", (30, 20), "red"), Image.new("RGB", (30, 20), "blue")
    for kind in ("PNG", "WEBP"):
        out = io.BytesIO()
        first.save(out, kind, save_all=True, append_images=[second])

        red, _, blue = opened(remake(out.getvalue(), LIMITS).data).getpixel((3, 3))  # type: ignore[misc]  # as above

        assert red > 200 > 60 > blue, kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6])
def test_a_damaged_photo_is_refused(kind: str, share: float) -> None:
    data = picture((300, 300), kind)
    head = max(int(len(data) * share), 14)

    with pytest.raises(Unfit, match="broken"):
        remake(data[:head], LIMITS)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_photo_is_not_lost_for_its_damaged_exif() -> None:
    data = picture(exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + GPS)

    made = remake(data, LIMITS)

    assert GPS not in made.data
    assert (made.width, made.height) == (60, 40)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html></html>",
        b"GIF89a" + bytes(40),
        b"BM" + bytes(60),
        b"II*\0" + bytes(60),
        b"OggS" + bytes(60),
        b"\0\0\0\x18ftypmp42" + bytes(60),
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"RIFF" + bytes(4) + b"AVI " + bytes(40),
    ],
)
def test_nothing_else_is_opened(data: bytes) -> None:
    with pytest.raises(Unfit, match="type"):
        remake(data, LIMITS)


def test_of_a_recording_only_the_sound_goes_over() -> None:
    data = bytearray(sound(1))
    note = b"LIST" + struct.pack("<I", 16) + b"INFOIART" + b"Secret\0\0"
    data[4:8] = struct.pack("<I", len(data) - 8 + len(note))

    made = remake(bytes(data) + note + archive(), LIMITS)

    assert made.content_type == "audio/wav"
    assert b"Secret" not in made.data
    assert not zipfile.is_zipfile(io.BytesIO(made.data))
    with wave.open(io.BytesIO(made.data)) as kept, wave.open(io.BytesIO(sound(1))) as old:
        assert kept.getparams() == old.getparams()
        assert kept.readframes(10_000) == old.readframes(10_000)


def test_a_recording_that_was_cut_off_is_kept_as_far_as_it_goes() -> None:
    made = remake(sound(2)[:-8001], LIMITS)

    with wave.open(io.BytesIO(made.data)) as kept:
        assert kept.getnframes() == 16_000 - 4001


def test_a_long_recording_is_refused() -> None:
    assert remake(sound(3), LIMITS).content_type == "audio/wav"

    with pytest.raises(Unfit, match="seconds"):
        remake(sound(3.1), LIMITS)


def test_what_only_begins_like_a_recording_is_refused() -> None:
    compressed = bytearray(sound(1))
    compressed[20:22] = b"\x55\0"
    for data in (b"RIFF" + bytes(4) + b"WAVE", bytes(compressed), sound(0)):
        with pytest.raises(Unfit, match="broken"):
            remake(data, LIMITS)
