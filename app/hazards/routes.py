from fastapi import APIRouter, Response
from pydantic import BaseModel

from app.core.caller import SignedIn
from app.hazards.catalogue import FAMILIES, HAZARDS

router = APIRouter(prefix="/v1/hazards", tags=["hazards"])


class HazardView(BaseModel):
    """One type of hazard, with its statutory family, CAP category and OASIS event term."""

    code: str
    family: str
    family_zh: str
    family_en: str
    zh: str
    en: str
    category: str
    oet: str | None


class HazardList(BaseModel):
    """The closed catalogue."""

    items: list[HazardView]


@router.get("")
async def list_hazards(caller: SignedIn, response: Response) -> HazardList:
    """Every hazard a report may name."""
    response.headers["Cache-Control"] = "private, max-age=3600"
    return HazardList(
        items=[
            HazardView(
                code=hazard.code,
                family=hazard.family,
                family_zh=FAMILIES[hazard.family].zh,
                family_en=FAMILIES[hazard.family].en,
                zh=hazard.zh,
                en=hazard.en,
                category=hazard.category,
                oet=hazard.oet,
            )
            for hazard in HAZARDS.values()
        ]
    )
