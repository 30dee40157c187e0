"""Side-by-side measurement: ours and a peer in turn, one table, one file of results.

A row is a ratio of medians over several alternating runs in one process on one machine, so that a change of clock speed
or a busy neighbour meets both. Nothing here knows what is measured, or fails a run because a target was missed.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `ratio` is how many times better ours is; a target is met from there on."""

    what: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    target: float | None
    met: bool | None


@dataclass(frozen=True, slots=True)
class Side:
    """A callable that does `units` units of work (draws, bets, leaves) each time it is called.

    `clock` is what is counted: wall time, or with `time.thread_time` the calling thread's processor time, which a busy
    neighbour lengthens less. Both sides of a comparison use the same.
    """

    run: Callable[[], object]
    units: int
    clock: Callable[[], float] = time.perf_counter

    def seconds(self) -> float:
        """Seconds for one unit."""
        started = self.clock()
        self.run()
        return (self.clock() - started) / self.units


def alternate(ours: Side, peer: Side, *, runs: int) -> tuple[float, float]:
    """Median seconds a unit of both, run in turn after one call each that is not counted."""
    ours.run()
    peer.run()
    pairs = [(ours.seconds(), peer.seconds()) for _ in range(runs)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def compare_cost(
    what: str, unit: str, per_second: float, sides: tuple[Side, Side], peer_name: str, target: float | None, runs: int
) -> Row:
    """A row about cost: lower is better. `per_second` is how many `unit` a second has (1e9 for ns)."""
    ours, peer = (seconds * per_second for seconds in alternate(*sides, runs=runs))
    return compare_costs(what, unit, ours, peer, peer_name, target)


def compare_limit(what: str, unit: str, ours: float, limit: float, limit_name: str) -> Row:
    """A row about a rate that must reach a fixed one."""
    return Row(what, unit, ours, limit, limit_name, ours / limit, 1.0, ours >= limit)


def compare_rate(what: str, unit: str, ours: float, peer: float, peer_name: str, target: float | None) -> Row:
    """A row about two rates that were measured in turn: higher is better."""
    ratio = ours / peer
    return Row(what, unit, ours, peer, peer_name, ratio, target, None if target is None else ratio >= target)


def compare_costs(what: str, unit: str, ours: float, peer: float, peer_name: str, target: float | None) -> Row:
    """A row about two costs that were measured in turn: lower is better."""
    ratio = peer / ours
    return Row(what, unit, ours, peer, peer_name, ratio, target, None if target is None else ratio >= target)


def publish(
    name: str,
    method: str,
    rows: list[Row],
    packages: tuple[str, ...] = (),
    versions: Mapping[str, str] | None = None,
) -> Path:
    """Prints the table and writes `benchmarks/results/NAME.json`; returns its path. `versions` are those of servers."""
    _print_table(rows)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    report: Mapping[str, object] = {
        "machine": machine(),
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
            **(versions or {}),
        },
        "method": method,
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(report, indent=1) + "\n")
    return path


def machine() -> dict[str, object]:
    """What the figures were measured on: processor, its features that matter here, count, kernel and load."""
    info: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().split("\n\n")[0].splitlines()
        info = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = info.get("flags", "").split()
    wanted = ("sha_ni", "popcnt", "avx2", "avx512_vpopcntdq")
    return {
        "processor": info.get("model name", platform.processor()),
        "features": [flag for flag in wanted if flag in flags],
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_1_minute": round(os.getloadavg()[0], 2),
    }


def _print_table(rows: list[Row]) -> None:
    table = [("what", "unit", "ours", "peer or limit", "", "ratio", "target", "met")]
    for row in rows:
        target = "-" if row.target is None else f"{row.target:g}"
        met = "-" if row.met is None else ("yes" if row.met else "NO")
        figures = (f"{row.ours:.4g}", f"{row.peer:.4g}", row.peer_name, f"{row.ratio:.3g}")
        table.append((row.what, row.unit, *figures, target, met))
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    left = {0, 1, 4}
    for line in table:
        cells = [c.ljust(w) if at in left else c.rjust(w) for at, (c, w) in enumerate(zip(line, widths, strict=True))]
        print("  ".join(cells).rstrip())
