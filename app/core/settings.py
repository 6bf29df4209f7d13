import re
from functools import cached_property
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_ATTACHMENT = re.compile(r"/v1/reports/[^/]+/attachments/[^/]+")


class Settings(BaseSettings):
    """What a deployment sets, from the environment with the prefix `BEACON_`."""

    model_config = SettingsConfigDict(env_prefix="BEACON_", extra="ignore", frozen=True)

    database_url: str = Field(
        "sqlite+aiosqlite:///./data/beacon.db",
        description="SQLAlchemy URL: sqlite+aiosqlite:///PATH or postgresql+asyncpg://USER:PASSWORD@HOST/NAME.",
    )
    database_pool: int = Field(10, ge=1, le=200, description="PostgreSQL connections a process may hold.")
    policy_file: Path | None = Field(None, description="Policy in TOML; the packaged default when unset.")
    access_token_minutes: int = Field(60, ge=1, description="Life of an access token.")
    refresh_token_days: int = Field(30, ge=1, description="Life of a refresh token.")
    sign_in_cache_seconds: float = Field(
        5.0, ge=0, le=60, description="How long another process may still honour a token that was revoked."
    )
    sign_in_attempts_per_minute: int = Field(
        10,
        ge=1,
        description="Failed sign-ins a minute of an account from one address, or of a known device; ten times as many "
        "of an address.",
    )
    body_limit_bytes: int = Field(64 * 1024, ge=1024, description="Largest request body; batch and import have more.")
    batch_limit_bytes: int = Field(8 * 1024 * 1024, ge=1024, description="Largest body of a batch of reports.")
    import_limit_bytes: int = Field(64 * 1024 * 1024, ge=1024, description="Largest CSV of nodes.")
    sign_in_limit_bytes: int = Field(8 * 1024, ge=1024, description="Largest body of a sign-in.")
    header_limit_bytes: int = Field(32 * 1024, ge=1024, description="Largest head of a request: address and headers.")
    header_seconds: float = Field(20.0, gt=0, description="Seconds within which the head of a request has to come.")
    connections_per_address: int = Field(
        2000, ge=1, description="Open connections an address may have; those on which somebody signed in do not count."
    )
    trusted_proxies: str = Field(
        "127.0.0.1",
        description="Addresses and networks, separated by commas, whose `X-Forwarded-For` is believed; their "
        "connections do not count.",
    )
    body_seconds: float = Field(
        30.0, gt=0, description="Seconds that a body may take, and one more for every `BEACON_BODY_BYTES_PER_SECOND`."
    )
    body_bytes_per_second: int = Field(256, ge=1, description="The slowest that a body may come after that time.")
    feed_keep_days: int = Field(30, ge=1, description="Days the city log is kept for cursors; older ones get 410.")
    feed_poll_seconds: float = Field(1.0, gt=0, le=60, description="The slow poll of the city log under the wake-ups.")
    timers_poll_seconds: float = Field(
        1.0, ge=0, le=60, description="How late a deadline may be noticed; 0: this process runs no timers."
    )
    delivery_private_targets: bool = Field(
        False, description="Let webhooks go to http and to private addresses: for tests, and networks without others."
    )
    attachments_url: str | None = Field(
        None,
        pattern=r"^(file:///|s3://)",
        description="Where photos and recordings are kept: file:///PATH or s3://BUCKET/PREFIX (with the AWS_ "
        "variables); when unset, the directory attachments beside the SQLite database, else ./data/attachments.",
    )
    attachment_limit_bytes: int = Field(10 * 1024 * 1024, ge=1024, description="Largest photo or recording, as sent.")
    attachments_per_report: int = Field(12, ge=0, le=100, description="Photos and recordings a report may have.")
    attachments_max_pixels: int = Field(
        50_000_000, ge=10_000, description="Most pixels of a photo; checked before it is decoded."
    )
    attachments_longest_side: int = Field(
        2560, ge=64, le=16_000, description="Photos are kept no wider and no higher than this many pixels."
    )
    attachments_max_seconds: int = Field(120, ge=1, le=3600, description="Longest recording.")
    attachments_keep_days: int = Field(7, ge=1, description="Days an upload that was not finished is kept.")
    stream_ping_seconds: float = Field(15.0, gt=0, description="Heartbeat of open event streams.")
    metrics_from: str = Field(
        "127.0.0.0/8,::1/128", description="Networks that may read /metrics, separated by commas; others get 404."
    )
    log_level: str = Field("info", description="debug, info, warning or error.")
    log_json: bool = Field(True, description="JSON lines; false for a terminal.")

    @cached_property
    def body_limits(self) -> dict[str, int]:
        """The paths that take more than `body_limit_bytes`."""
        return {"/v1/reports/batch": self.batch_limit_bytes, "/v1/nodes/import": self.import_limit_bytes}

    def body_limit(self, path: str) -> int:
        """How large the body of a request to this path may be."""
        if _ATTACHMENT.fullmatch(path):
            return self.attachment_limit_bytes
        if path.startswith("/v1/auth/"):
            return self.sign_in_limit_bytes
        return self.body_limits.get(path, self.body_limit_bytes)
