"""What may be stored of a photo or a recording: its pixels or its sound, made anew, and nothing else of it. Pure."""

import io
import re
import struct
import wave
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageOps

# Pillow's own limit warns first and refuses at twice as many: ours stands before it, and decides alone.
Image.MAX_IMAGE_PIXELS = None

JPEG, PNG, WAV = "image/jpeg", "image/png", "audio/wav"
JPEG_QUALITY = 85
HEAD_BYTES = 12
# Encoders write about ten.
MOST_SCANS = 64

# In what is drawn, FF stands before 00 or a restart.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9

Sort = Literal["JPEG", "PNG", "WEBP", "WAV"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a photo or a recording may be, and how large a photo is kept."""

    pixels: int
    longest_side: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Remade:
    """What is stored; a recording has no width and no height."""

    content_type: str
    data: bytes
    width: int | None = None
    height: int | None = None


class Unfit(Exception):
    """These bytes are not stored. `why`: they are no photo or recording of ours, or damaged, or too large."""

    def __init__(self, why: Literal["type", "broken", "pixels", "seconds"]) -> None:
        super().__init__(why)
        self.why = why


def sort_of(head: bytes) -> Sort | None:
    """What the first `HEAD_BYTES` of a file say it is; None: nothing that is taken here."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "WEBP", b"WAVE": "WAV"}.get(head[8:12])  # type: ignore[return-value]  # get() widens to str
    return None


def remake(data: bytes, limits: Limits) -> Remade:
    """A new file with the same picture or sound; Unfit when it cannot be made.

    A photo stands upright, its longest side is at most `limits.longest_side`, and of several pictures it is the
    first. No metadata goes over, and no byte of the old file.
    """
    match sort_of(data[:HEAD_BYTES]):
        case None:
            raise Unfit("type")
        case "WAV":
            return _sound(data, limits)
        case sort:
            return _picture(data, sort, limits)


def _picture(data: bytes, sort: Sort, limits: Limits) -> Remade:
    if sort == "WEBP":
        # Its decoder sets room aside as soon as it is opened.
        _check_pixels(*_webp_size(data), limits)
    if sort == "JPEG" and _scans(data) > MOST_SCANS:
        raise Unfit("broken")
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=[sort])
        _check_pixels(*image.size, limits)
        # A JPEG is decoded no larger than it is kept.
        image.draft(None, (limits.longest_side, limits.longest_side))
        image.load()
    except Unfit:
        raise
    except Exception as error:  # decoders of damaged bytes fail in ways that no list has all of
        raise Unfit("broken") from error
    sides = (limits.longest_side, limits.longest_side)
    if image.mode in ("L", "RGB", "RGBA"):
        # First, so that the steps after it copy little.
        image.thumbnail(sides, Image.Resampling.LANCZOS)
    image = _flat(_upright(image))
    image.thumbnail(sides, Image.Resampling.LANCZOS)
    # What an image object carries along (comments, profiles, text) is written by some encoders: a new one has none.
    fresh = Image.new(image.mode, image.size)
    fresh.paste(image)
    out = io.BytesIO()
    if fresh.mode == "RGBA":
        fresh.save(out, "PNG")
    else:
        fresh.save(out, "JPEG", quality=JPEG_QUALITY)
    return Remade(PNG if fresh.mode == "RGBA" else JPEG, out.getvalue(), *fresh.size)


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels:
        raise Unfit("pixels")


def _scans(data: bytes) -> int:
    """In how many turns a JPEG is drawn. Each may cost a whole pass over the picture, however few bytes it has."""
    found, at = 0, 2
    while marker := _MARKER.search(data, at):
        kind, at = marker[0][1], marker.end()
        if kind == _END_OF_IMAGE:
            break
        found += kind == _START_OF_SCAN
        if found > MOST_SCANS:
            break
        # Every segment says its length: what it holds, as a small picture of its own, is not looked at.
        at += int.from_bytes(data[at : at + 2], "big")
    return found


def _webp_size(data: bytes) -> tuple[int, int]:
    """The size that a WebP file claims (RFC 9649)."""
    form, body = data[12:16], data[20:30]
    if len(body) == 10:
        if form == b"VP8X":
            return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
        if form == b"VP8 ":
            width, height = struct.unpack("<HH", body[6:10])
            return width & 0x3FFF, height & 0x3FFF
        if form == b"VP8L":
            bits = int.from_bytes(body[1:5], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise Unfit("broken")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001  a photo is not lost for its damaged EXIF
        return image


def _flat(image: Image.Image) -> Image.Image:
    """In one of the modes that are kept: grey, colours, or colours with transparency where something shows through."""
    if image.mode == "L" and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            return image
    return image.convert("RGB")


def _sound(data: bytes, limits: Limits) -> Remade:
    try:
        with wave.open(io.BytesIO(data)) as old:
            channels, width, rate = old.getnchannels(), old.getsampwidth(), old.getframerate()
            frames = old.readframes(old.getnframes())
    except (wave.Error, EOFError, ValueError, RuntimeError, struct.error) as error:
        raise Unfit("broken") from error
    # A recording that was cut off may end within a frame.
    count = len(frames) // (channels * width) if channels and width else 0
    if not (1 <= channels <= 2 and 1 <= width <= 4 and 4_000 <= rate <= 96_000 and count):
        raise Unfit("broken")
    if count > limits.seconds * rate:
        raise Unfit("seconds")
    out = io.BytesIO()
    with wave.open(out, "wb") as new:
        new.setnchannels(channels)
        new.setsampwidth(width)
        new.setframerate(rate)
        new.writeframes(frames[: count * channels * width])
    return Remade(WAV, out.getvalue())
