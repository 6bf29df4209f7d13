"""A phone that sends files, and the files."""

import base64
import io
import wave
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx
from PIL import Image

As = Callable[[str, str], dict[str, str]]
Posted = Callable[..., Awaitable[dict[str, Any]]]

GPS = b"GPS-of-somebody's-home"


@dataclass
class Phone:
    """Sends whole files, or parts of them."""

    client: httpx.AsyncClient
    headers: dict[str, str]

    async def send(
        self, report_id: str, name: str, data: bytes, *, part: tuple[int, int] | None = None, **headers: str
    ) -> httpx.Response:
        """The file, or its bytes from the first to before the second of `part`."""
        found = {"Repr-Digest": repr_digest(data), "Content-Type": "application/octet-stream"}
        body = data
        if part is not None:
            first, end = part
            body = data[first:end]
            found["Content-Range"] = f"bytes {first}-{end - 1}/{len(data)}"
        found |= {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.client.put(path(report_id, name), content=body, headers=self.headers | found)

    async def list(self, report_id: str) -> list[dict[str, Any]]:
        """What the report has, as the phone sees it."""
        answer = await self.client.get(f"/v1/reports/{report_id}/attachments", headers=self.headers)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    async def read(self, report_id: str, name: str, **headers: str) -> httpx.Response:
        """What is stored."""
        return await self.client.get(path(report_id, name), headers=self.headers | headers)


def path(report_id: str, name: str) -> str:
    return f"/v1/reports/{report_id}/attachments/{name}"


def repr_digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256(data).digest()).decode()}:"


def picture(size: tuple[int, int] = (60, 40), kind: str = "JPEG", mode: str = "RGB", **options: Any) -> bytes:
    """A photo: red on the left, blue on the right."""
    image = Image.new(mode, size, "red")
    image.paste("blue", (size[0] // 2, 0, *size))
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def noise(size: tuple[int, int] = (300, 300)) -> bytes:
    """A photo that does not compress."""
    out = io.BytesIO()
    Image.effect_noise(size, 90).save(out, "PNG")
    return out.getvalue()


def exif() -> Image.Exif:
    """What a phone writes: who made it, lying on its side, where, and a remark."""
    found = Image.Exif()
    found[0x010F] = "SecretMaker"
    found[0x0112] = 6
    found[0x9286] = GPS
    found.get_ifd(0x8825).update({1: "N", 2: (36.0, 52.0, 51.0), 3: "E", 4: (118.0, 44.0, 22.0), 29: "2018:08:20"})
    return found


def sound(seconds: float = 1.0, rate: int = 8000) -> bytes:
    """A recording: one voice, 16 bits."""
    out = io.BytesIO()
    with wave.open(out, "wb") as new:
        new.setnchannels(1)
        new.setsampwidth(2)
        new.setframerate(rate)
        new.writeframes(bytes(range(200)) * int(seconds * rate / 100))
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """The stored photo, decoded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
