from uuid import UUID

from pydantic import BaseModel, Field

from app.alerts.views import AlertView
from app.incidents.views import IncidentView
from app.reports.views import Notice

MERGED = Notice(
    code="incident_merged_before",
    text="It is part of that incident already: nothing was changed.",
    text_zh="该事件此前已并入，未作更改。",
)
SPLIT = Notice(
    code="incident_split_before",
    text="That incident stands on its own already: nothing was changed.",
    text_zh="该事件已独立，未作更改。",
)
LEADS = Notice(
    code="incident_assigned_before",
    text="That office leads already: nothing was changed.",
    text_zh="该单位已牵头，未作更改。",
)
ENDED = Notice(
    code="incident_ended_before",
    text="It has this outcome already: nothing was changed.",
    text_zh="已有该结果，未作更改。",
)
DISMISSED = Notice(
    code="incident_dismissed_before",
    text="These two were said to be different already: nothing was changed.",
    text_zh="此前已确认两起事件不同，未作更改。",
)
IS_OPEN = Notice(code="incident_is_open", text="It is open: nothing was changed.", text_zh="该事件未结，未作更改。")


class Acted(BaseModel):
    """The incident after the act; when the act changed nothing, `notice` says why."""

    incident: IncidentView
    applied: bool
    notice: Notice | None = None


class Regrouped(Acted):
    """What a merge or a split made of two incidents; with `dry_run` what it would make of them."""

    other: IncidentView | None = Field(
        None, description="the alias, or the incident that was split off; in a dry run a new one's id is not its own"
    )
    moved: list[UUID] = Field(default_factory=list, description="the reports that changed incidents")
    alerts: list[AlertView] = Field(default_factory=list, description="the alerts that were changed")
    dry_run: bool = False
