"""Reports: an operator's own revenue, as JSON, or as CSV where that is what the request prefers."""

from __future__ import annotations

import csv
import io
import re
from typing import Any, Final, get_args

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.answers import bytes_answer, json_answer
from gateway.auth.guard import SignedRequest, signed_response
from gateway.http import is_a, query_texts
from gateway.problems import ProblemError
from keno.phrases import said
from keno.reporting.revenue import Figures, Period, Revenue, period_text, ratio_text
from keno.reporting.service import ReportingService, ReportsBusyError
from keno.requests import Grouping, ReportTime

CSV: Final = "text/csv"
GROUPING: Final[Grouping] = "day"
"""Where none is asked for."""
_GROUP_NAMES: Final[dict[Grouping, str | None]] = {"day": "period", "hour": "period", "room": "room", "currency": None}
_WEIGHT: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def routes(reporting: ReportingService) -> list[HTTPRouteHandler]:
    """The handler, behind the operator's signature."""

    @get("/reports/revenue")
    async def revenue(request: SignedRequest) -> Response[bytes]:
        period = period_of(query_texts(request, ("from", "to", "group_by")))
        try:
            report = await reporting.revenue(request.user.id, period)
        except ReportsBusyError as error:
            raise ProblemError("overloaded", "other reports of yours are under way") from error
        if prefers_csv(request.headers.getall("accept", [])):
            answer = bytes_answer(csv_of(report), f"{CSV}; header=present", cache_control="no-store")
        else:
            answer = json_answer(report_members(report))
        return signed_response(request, answer)

    return [revenue]


def period_of(query: dict[str, str]) -> Period:
    """The period that a query asks for. Raises ProblemError `invalid_query` and RequestError `invalid_period`."""
    for name in ("from", "to"):
        if name not in query:
            raise ProblemError("invalid_query", said("{name} is required", name=name), name)
        if not is_a(ReportTime, query[name]):
            raise ProblemError(
                "invalid_query",
                said("{name} is a day or a whole hour of UTC, as 2026-01-31 or 2026-01-31T13:00:00Z", name=name),
                name,
            )
    group_by = query.get("group_by", GROUPING)
    if group_by not in _GROUP_NAMES:
        groupings = ", ".join(get_args(Grouping))
        raise ProblemError("invalid_query", said("group_by is one of {groupings}", groupings=groupings), "group_by")
    return Period.read(query["from"], query["to"], group_by)


def report_members(report: Revenue) -> dict[str, Any]:
    """The report as JSON."""
    period = report.period
    return {
        "from_ms": period.from_ms,
        "to_ms": period.to_ms,
        "group_by": period.group_by,
        "as_of_ms": report.as_of_ms,
        "rows": [row_members(period.group_by, each) for each in report.figures],
    }


def row_members(group_by: Grouping, figures: Figures) -> dict[str, Any]:
    """A row of the report, of JSON and of CSV."""
    name, group = _GROUP_NAMES[group_by], figures.group
    expected = figures.rtp_expected
    return ({} if name is None else {name: period_text(group_by, group) if isinstance(group, int) else group}) | {
        "currency": figures.currency,
        "rounds": figures.rounds_count,
        "bets": figures.bets_count,
        "turnover_minor": figures.staked_minor,
        "payout_minor": figures.paid_minor,
        "ggr_minor": figures.ggr_minor,
        "rtp": ratio_text(figures.rtp),
        "rtp_expected": None if expected is None else ratio_text(expected),
    }


def csv_of(report: Revenue) -> bytes:
    """The report as RFC 4180 has it, with a header line; a null is an empty field.

    Every field is a number, a time, a currency or an id of ours: nobody can name a room so that a spreadsheet runs it.
    """
    name = _GROUP_NAMES[report.period.group_by]
    fields = [] if name is None else [name]
    fields += ["currency", "rounds", "bets", "turnover_minor", "payout_minor", "ggr_minor", "rtp", "rtp_expected"]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*fields, "as_of_ms"])
    writer.writeheader()
    for each in report.figures:
        writer.writerow(row_members(report.period.group_by, each) | {"as_of_ms": report.as_of_ms})
    return text.getvalue().encode()


def prefers_csv(accept: list[str]) -> bool:
    """Whether the values of Accept name CSV, and JSON not as much (RFC 9110, 12.5.1)."""
    weights: dict[str, float] = {}
    for item in ",".join(accept).lower().split(","):
        kind, *parameters = (part.strip(" \t") for part in item.split(";"))
        weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        weights.setdefault(kind, float(weight) if _WEIGHT.fullmatch(weight) else 0.0)
    of_json = next((weights[each] for each in ("application/json", "application/*", "*/*") if each in weights), 0.0)
    return weights.get(CSV, 0.0) > of_json
