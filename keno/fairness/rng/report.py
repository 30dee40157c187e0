"""The statistical report of the generator: draws are made, measured, and shown as JSON and as one HTML page.

The page needs nothing but itself: its plots are inline SVG. It says what it was made with, so that a laboratory can
make it again: version, digest of the compiled core, seed, machine.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np

from keno import _core
from keno.fairness.rng import stream
from keno.fairness.rng.statistics import FAILS_BELOW, Statistic, Statistics
from keno.fairness.rng.tallies import Cells


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured and with what. `seed` is in hex, None where every epoch key came from the operating system;
    `draws_sha256` is the digest of all draws, 20 bytes each.
    """

    made_at: str
    keno: str
    core_sha256: str
    python: str
    numpy: str
    machine: str
    seed: str | None
    epoch_rounds: int
    draws: int
    draws_sha256: str
    fails_below: float
    passes: bool
    statistics: list[Statistic]

    def json(self) -> bytes:
        """All of it, plots' counts included."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def make(seed: bytes | None, draws_count: int) -> Report:
    """Makes and measures draws; takes some 20 s a million. `seed` as in `stream`."""
    statistics, digest = Statistics(), sha256()
    for chunk in stream.draws(seed, draws_count):
        digest.update(chunk)
        statistics.add(np.frombuffer(chunk, dtype=np.uint8).reshape(-1, stream.NUMBERS_BYTES))
    measured = statistics.measured()
    return Report(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        keno=version("keno"),
        core_sha256=sha256(Path(_core.__file__).read_bytes()).hexdigest(),
        python=platform.python_version(),
        numpy=np.__version__,
        machine=_machine(),
        seed=None if seed is None else seed.hex(),
        epoch_rounds=stream.EPOCH_ROUNDS,
        draws=draws_count,
        draws_sha256=digest.hexdigest(),
        fails_below=FAILS_BELOW,
        passes=all(each.passes for each in measured),
        statistics=measured,
    )


def page(report: Report) -> str:
    """The report as one HTML document."""
    about = {
        "made at": report.made_at,
        "keno": f"{report.keno}, compiled core SHA-256 {report.core_sha256}",
        "draws": f"{report.draws:,}, SHA-256 {report.draws_sha256}",
        "seed": report.seed or "none: every epoch key from the operating system's generator, not repeatable",
        "made again by": f"keno rng report --draws {report.draws} --seed {report.seed}" if report.seed else "-",
        "epochs": f"a key every {report.epoch_rounds} rounds",
        "machine": f"{report.machine}; Python {report.python}, numpy {report.numpy}",
        "threshold": f"a statistic fails where fair draws exceed it with a probability below {report.fails_below:g}",
    }
    verdict = "all statistics pass" if report.passes else "SOME STATISTIC FAILS"
    facts = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in about.items())
    rows = "".join(_row(each) for each in report.statistics)
    plots = "".join(_section(each) for each in report.statistics)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Keno draws: {verdict}</title>'
        f"<style>{_STYLE}</style></head><body><h1>Keno draws: {verdict}</h1><table>{facts}</table>"
        "<h2>Statistics</h2><table><tr><th>name</th><th>what</th><th>chi-square</th><th>degrees of freedom</th>"
        f"<th>limit</th><th>p</th><th>verdict</th></tr>{rows}</table>"
        "<h2>What was counted</h2><p>A bar is how many standard deviations a count lies from what is expected of "
        f"fair draws; the lines are at two and at four.</p>{plots}</body></html>\n"
    )


def _row(each: Statistic) -> str:
    figures = (f"{each.value:.2f}", f"{each.degrees}", f"{each.limit:.1f}", f"{each.p:.4g}")
    cells = "".join(f'<td class="figure">{figure}</td>' for figure in figures)
    verdict = "passes" if each.passes else "<strong>FAILS</strong>"
    return f"<tr><td>{each.name}</td><td>{escape(each.what)}</td>{cells}<td>{verdict}</td></tr>"


def _section(each: Statistic) -> str:
    counts = zip(each.cells.labels, each.cells.observed, each.cells.expected, each.cells.sigmas, strict=True)
    rows = "".join(
        f'<tr><td>{escape(label)}</td><td class="figure">{observed:.6g}</td><td class="figure">{expected:.6g}</td>'
        f'<td class="figure">{sigma:+.2f}</td></tr>'
        for label, observed, expected, sigma in counts
    )
    return (
        f"<h3>{each.name}: {escape(each.what)}</h3>{_plot(each.name, each.cells)}<details><summary>the counts</summary>"
        "<table><tr><th>cell</th><th>observed</th><th>expected</th><th>standard deviations</th></tr>"
        f"{rows}</table></details>"
    )


_WIDTH, _HEIGHT, _LEFT, _BELOW = 840, 180, 40, 24
_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse }
th, td { padding: .2rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd }
td { overflow-wrap: anywhere }
.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
svg { width: 100%; height: auto }
svg text { font: 11px system-ui, sans-serif; fill: #444 }
.bar { fill: #3568a8 }
.bar.far { fill: #b3261e }
.zero { stroke: #444 }
.line { stroke: #999; stroke-dasharray: 4 3 }
"""


def _plot(name: str, cells: Cells) -> str:
    """Bars of the deviations, as SVG."""
    scale = max(5.0, *(abs(sigma) * 1.05 for sigma in cells.sigmas))
    step = (_WIDTH - _LEFT) / len(cells.sigmas)
    # About twenty labels fit beneath.
    every = -(-len(cells.labels) // 20)

    def y(sigma: float) -> float:
        return round(_HEIGHT / 2 * (1 - sigma / scale), 2)

    parts = []
    for level in (-4, -2, 0, 2, 4):
        kind = "line" if level else "zero"
        parts.append(f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH}" y1="{y(level)}" y2="{y(level)}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(level) + 4}" text-anchor="end">{level:+d}</text>')
    for index, (label, sigma) in enumerate(zip(cells.labels, cells.sigmas, strict=True)):
        left, top, height = _LEFT + index * step, y(max(sigma, 0)), abs(y(sigma) - y(0))
        kind = "bar far" if abs(sigma) > 4 else "bar"
        parts.append(
            f'<rect class="{kind}" x="{left + step * 0.1:.2f}" y="{top}" width="{min(step * 0.8, 40):.2f}" '
            f'height="{height:.2f}"><title>{escape(label)}: {sigma:+.2f}</title></rect>'
        )
        if index % every == 0:
            parts.append(f'<text x="{left + step * 0.1:.2f}" y="{_HEIGHT + 14}">{escape(label)}</text>')
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _BELOW}" role="img" aria-label="deviations of {name}">'
        f"{''.join(parts)}</svg>"
    )


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in names if line.startswith("model name")), "")
    return f"{model or platform.processor()}, {platform.system()} {platform.release()} {platform.machine()}"
