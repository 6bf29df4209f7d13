"""What may be counted and measured of an incident: never names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FigureName = Literal[
    "affected",
    "dead",
    "missing",
    "injured",
    "trapped",
    "relocated",
    "water_short",
    "houses_collapsed",
    "houses_damaged",
    "crop_area_affected_ha",
    "crop_area_lost_ha",
    "direct_loss_cny",
]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the statutory report."""

    name: FigureName
    zh: str
    en: str
    unit: str


_ALL = (
    Figure("affected", "受灾人口", "people affected", "persons"),
    Figure("dead", "死亡人口", "dead", "persons"),
    Figure("missing", "失踪人口", "missing", "persons"),
    Figure("injured", "受伤人口", "injured", "persons"),
    Figure("trapped", "被困人口", "trapped", "persons"),
    Figure("relocated", "转移安置人口", "relocated", "persons"),
    Figure("water_short", "饮水困难人口", "short of drinking water", "persons"),
    Figure("houses_collapsed", "倒塌房屋", "houses collapsed", "houses"),
    Figure("houses_damaged", "损坏房屋", "houses damaged", "houses"),
    Figure("crop_area_affected_ha", "农作物受灾面积", "crop area affected", "ha"),
    Figure("crop_area_lost_ha", "农作物绝收面积", "crop area lost", "ha"),
    Figure("direct_loss_cny", "直接经济损失", "direct economic loss", "CNY"),
)
FIGURES: Mapping[str, Figure] = {figure.name: figure for figure in _ALL}
