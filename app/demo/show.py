from dataclasses import dataclass, field

from app.demo import night
from app.demo.desk import Desk
from app.demo.drill import Drill
from app.demo.findings import Findings
from app.demo.keys import Keys
from app.demo.player import Tally
from app.demo.towns import Acts


@dataclass
class Show:
    """All that is known of one exercise, while it runs and when it is over."""

    drill: Drill
    desk: Desk
    tally: Tally = field(default_factory=Tally)
    findings: Findings = field(default_factory=Findings)
    keys: Keys = field(default_factory=Keys)
    acts: Acts = field(default_factory=Acts)

    def name(self, office: str) -> str:
        """The name of an office."""
        return night.office_names().get(office) or self.desk.names.get(office, office)

    def carried_after(self) -> dict[str, float]:
        """Seconds from the first urgent report's answer to the poll that carried its alert, by alert.

        The poll may be read before the answer is: that counts as 0. An alert no poll carried is absent.
        """
        carried = self.desk.carried
        return {
            alert: max(0.0, carried[alert] - moment) for alert, moment in self.tally.raised.items() if alert in carried
        }

    def missed(self) -> set[str]:
        """Alerts named in answers that no poll has carried."""
        return self.tally.raised.keys() - self.desk.carried.keys()

    def unseen(self) -> list[str]:
        """What the city's desk should have seen and has not, a line each."""
        plot, found = night.plot(), self.findings
        lines = []
        if missed := len(self.missed()):
            lines.append(f"轮询未见 {missed} 个警报 {missed} alerts that no poll carried")
        if plot.asleep not in found.bypassed:
            lines.append(f"未见{self.name(plot.asleep)}被越级 the town {plot.asleep} was not seen bypassed")
        silent = found.silent.get(plot.silent)
        if silent is None:
            lines.append(f"未见{self.name(plot.silent)}失联 the village {plot.silent} was not seen silent")
        elif silent.heard is None:
            lines.append(f"未见{self.name(plot.silent)}恢复联系 the village {plot.silent} was not seen heard again")
        return lines

    def lacking(self) -> list[str]:
        """What the exercise lacks to have gone well, a line each."""
        lines = self.unseen()
        if unanswered := self.tally.total - self.tally.answered:
            lines.append(f"{unanswered} 份报告未获答复 {unanswered} reports were not taken")
        if not self.tally.total:
            lines.append("一份报告也没有发出 not one report was sent")
        if self.drill.score is None:
            lines.append(f"演练未能结束 the drill could not be ended: {self.drill.trouble}".rstrip(": "))
        return lines
