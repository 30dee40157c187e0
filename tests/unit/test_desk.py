"""What the desk answers where a mistake of ours keeps it from its work."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from gateway.desk import Capacity, Desk
from gateway.placing import BET
from keno.texts.languages import ENGLISH


async def test_an_answer_that_cannot_be_signed_is_a_failure_and_no_silence() -> None:
    def fail(*_: object) -> Any:
        raise RuntimeError("a mistake of ours")

    entrance: Any = SimpleNamespace(passage=lambda: SimpleNamespace(finish=fail), verify=fail)
    texts: Any = SimpleNamespace(for_header=lambda _: ENGLISH)
    bets: Any = None
    answer = await Desk(entrance, bets, texts, Capacity()).answer(BET, "/v1/bets", lambda _: (), b"{}", "192.0.2.1")
    assert answer.status == 500
    assert json.loads(answer.body)["code"] == "internal"
