from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from app.core import metrics


def test_a_process_that_has_just_begun_to_count_hides_nothing_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(metrics.SHARED, str(tmp_path))
    key = mmap_key("beacon_requests", "beacon_requests_total", ["route"], ["/busy"], "Requests answered.")
    for process in (1, 2):
        counted = MmapedDict(str(tmp_path / f"counter_{process}.db"))  # type: ignore[no-untyped-call]  # likewise
        counted.write_value(key, 2.0, 0.0)  # type: ignore[no-untyped-call]  # likewise
        counted.close()  # type: ignore[no-untyped-call]  # likewise
    (tmp_path / "counter_3.db").touch()

    assert b'beacon_requests_total{route="/busy"} 4.0' in metrics.exposition()
