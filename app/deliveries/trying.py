"""One try: signed to the vetted address of a webhook, or by Apprise to a channel. It never fails: it answers how."""

import asyncio
import contextlib
from collections.abc import Callable

import httpx
import structlog

from app.core.clock import Clock
from app.deliveries import channels, guard, signing
from app.deliveries.apart import apart
from app.deliveries.queue import Claimed
from app.deliveries.retrying import Outcome, outcome_of

log = structlog.get_logger()

TIMEOUT_SECONDS = 15.0
# Addresses of one host that a try goes through, while they refuse the connection.
MOST_ADDRESSES = 3

Notify = Callable[[str, str, str, float], bool]


class Tries:
    """Makes tries, of many receivers at once."""

    def __init__(
        self,
        clock: Clock,
        *,
        private_targets: bool = False,
        timeout: float = TIMEOUT_SECONDS,
        resolve: guard.Resolve = guard.resolve,
        transport: httpx.AsyncBaseTransport | None = None,
        notify: Notify = channels.notify,
    ) -> None:
        self._clock = clock
        self._private = private_targets
        self._timeout = timeout
        self._resolve = resolve
        self._transport = transport
        self._notify = notify
        self._client: httpx.AsyncClient | None = None

    async def make(self, claimed: Claimed) -> Outcome:
        """What the try comes to, within the timeout."""
        try:
            async with asyncio.timeout(self._timeout):
                return await (self._post(claimed) if claimed.kind == "webhook" else self._tell(claimed))
        except (TimeoutError, httpx.TimeoutException):
            return Outcome("timed_out")
        except guard.ForbiddenTarget:
            return Outcome("forbidden_target")
        except (httpx.HTTPError, OSError):
            return Outcome("unreachable")
        except Exception as error:  # noqa: BLE001  a receiver's odd answer must not stop its queue without a receipt
            log.warning("delivery failed", error=type(error).__name__)
            return Outcome("failed")

    async def close(self) -> None:
        """Close what is open."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _post(self, claimed: Claimed) -> Outcome:
        url = httpx.URL(claimed.url)
        if url.scheme != "https" and not self._private:
            raise guard.ForbiddenTarget
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await guard.vetted(url.host, port, resolve=self._resolve, private=self._private)
        raw = signing.message(claimed.type, claimed.at, claimed.body)
        headers = signing.headers(f"msg_{claimed.id.hex}", self._clock.now(), raw, claimed.keys)
        # To a vetted address, under the name that was asked for: for the certificate, and for virtual hosts.
        headers |= {"host": url.netloc.decode("ascii"), "user-agent": "Beacon"}
        for address in addresses[: MOST_ADDRESSES - 1]:
            with contextlib.suppress(httpx.ConnectError):
                return await self._send(url, address, raw, headers)
        return await self._send(url, addresses[-1], raw, headers)

    async def _send(self, url: httpx.URL, address: str, raw: bytes, headers: dict[str, str]) -> Outcome:
        async with self._http().stream(
            "POST",
            url.copy_with(host=address),
            content=raw,
            headers=headers,
            extensions={"sni_hostname": url.host},
        ) as response:
            # What it says beside the status is not read.
            return outcome_of(response.status_code, response.headers.get("retry-after"))

    async def _tell(self, claimed: Claimed) -> Outcome:
        if not channels.is_installed():
            return Outcome("channels_missing")
        named = await apart(channels.host_of, claimed.url)
        if named is not None:
            await guard.vetted(*named, resolve=self._resolve, private=self._private)
        title, text = channels.text_of(claimed.type, claimed.body)
        taken = await apart(self._notify, claimed.url, title, text, self._timeout)
        return Outcome("delivered" if taken else "refused")

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            # No proxy of the environment, which would look the name up again; and nothing is kept open, since the
            # next try may have to go to another address.
            self._client = httpx.AsyncClient(
                timeout=self._timeout,
                follow_redirects=False,
                trust_env=False,
                transport=self._transport,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            )
        return self._client
