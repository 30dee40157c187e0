"""What a body must be beside what the services' strict decoders ask for: JSON by its type."""

from __future__ import annotations

import re
from typing import Final

from gateway.answers import JSON
from gateway.problems import ProblemError
from keno.phrases import said

_JSON_TYPE: Final = re.compile(r'application/json(?:[ \t]*;[ \t]*charset=(?:utf-8|"utf-8"))?', re.IGNORECASE)


def require_json(content_type: str | None) -> None:
    """Raises ProblemError `unsupported_media_type` for anything but JSON in UTF-8."""
    if content_type == JSON:
        return
    if content_type is None or _JSON_TYPE.fullmatch(content_type) is None:
        absent = content_type is None
        detail = "there is no Content-Type" if absent else said("the Content-Type is {type}", type=content_type)
        raise ProblemError("unsupported_media_type", detail)
