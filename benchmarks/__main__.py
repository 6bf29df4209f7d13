import argparse
import json
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import facts, scenarios, servers, table
from benchmarks.scenarios import Measured


def main() -> int:
    """Measure, print, and answer the exit code: 1 when there were errors or nothing could be measured."""
    options = _options()
    selected = scenarios.chosen(options.only)
    if not selected:
        print(f"--only fits none of: {', '.join(one.name for one in scenarios.SCENARIOS)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _end)
    names = {one.server for one in selected}
    try:
        with tempfile.TemporaryDirectory(prefix="beacon-bench-") as directory:
            found = facts.gather(Path(directory), with_postgres=any(name.endswith("postgresql") for name in names))
            _say("starting " + ", ".join(sorted(names)))
            with servers.running(names, Path(directory)) as targets:
                measured = scenarios.measure(
                    selected,
                    targets,
                    rounds=options.rounds,
                    seconds=options.seconds,
                    warmup=options.warmup,
                    concurrency=options.concurrency,
                    progress=_say,
                )
    except (servers.Failed, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(table.render(measured, found))
    if options.json:
        document = json.dumps(_document(options, measured, found), ensure_ascii=False, indent=2)
        options.json.write_text(document + "\n", encoding="utf-8")
    wrong = table.errors(measured)
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Beacon against bare FastAPI.")
    parser.add_argument("--seconds", type=_positive, default=1.5, help="of each measurement (default 1.5)")
    parser.add_argument("--warmup", type=_positive, default=0.5, help="seconds before each measurement (default 0.5)")
    parser.add_argument("--rounds", type=_count, default=7, help="how often everything is measured (default 7)")
    parser.add_argument("--concurrency", type=_count, default=32, help="keep-alive connections (default 32)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="WORD",
        help="rows whose names contain WORD; may be repeated; name the yardstick too where a ratio is wanted",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there")
    return parser.parse_args()


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError("more than 0, at most 3600")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1000:
        raise argparse.ArgumentTypeError("from 1 to 1000")
    return value


def _document(options: argparse.Namespace, measured: dict[str, Measured], found: dict[str, str]) -> dict[str, Any]:
    rows = [
        {**asdict(one.scenario), "ratios": table.ratio(measured, one.scenario), "levels": one.levels}
        | {"rounds": one.rounds, "errors": one.errors}
        for one in measured.values()
    ]
    kept = {name: getattr(options, name) for name in ("seconds", "warmup", "rounds", "concurrency", "only")}
    return {"facts": found, "options": kept, "rows": rows}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _end(_number: int, _frame: FrameType | None) -> None:
    # As an exception, so that what was started is ended.
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
