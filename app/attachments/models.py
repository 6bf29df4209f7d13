from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, UtcDateTime


class Attachment(Base):
    """A photo or a short recording of a report. The bytes are in the object store; this row is what holds."""

    __tablename__ = "attachments"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    report_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True, comment="the slot, named by the sender")
    sha256: Mapped[str] = mapped_column(String(64), comment="of what is sent, in hex")
    size: Mapped[int] = mapped_column(BigInteger, comment="bytes of what is sent")
    received: Mapped[int] = mapped_column(BigInteger, comment="bytes that have arrived")
    state: Mapped[str] = mapped_column(String(10))
    content_type: Mapped[str | None] = mapped_column(String(40), comment="of what is stored")
    stored_size: Mapped[int | None] = mapped_column(BigInteger)
    stored_sha256: Mapped[str | None] = mapped_column(String(64), comment="of what is stored, in hex")
    width: Mapped[int | None]
    height: Mapped[int | None]
    store_key: Mapped[str | None] = mapped_column(String(200), comment="where in the object store")
    begun_at: Mapped[datetime] = mapped_column(UtcDateTime)
    stored_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    filed_by: Mapped[str] = mapped_column(String(32), comment="the office that sent it")

    __table_args__ = (
        ForeignKeyConstraint(["city_id", "report_id"], ["reports.city_id", "reports.id"]),
        CheckConstraint("state IN ('uploading', 'stored')", name="state"),
        Index(None, "city_id", "state", "begun_at"),
    )
