"""What the clients raise; the tree is drawn in `keno.client`."""

from __future__ import annotations

from keno.errors import KenoError
from keno.shapes import ProblemDetails


class ClientError(KenoError):
    """Base of what the clients raise."""


class Refused(ClientError):  # noqa: N818 - named for what happened
    """The server's problem (RFC 9457), as `problem`; decide by `code`."""

    def __init__(self, problem: ProblemDetails) -> None:
        super().__init__(f"{problem.code}: {problem.detail}")
        self.problem = problem
        self.code = problem.code


class Unanswered(ClientError):  # noqa: N818 - named for what happened
    """No answer to all attempts, or one that is not the server's. Do the same again under the same transaction id."""


class NotTheirAnswer(ClientError):  # noqa: N818 - named for what happened
    """An answer whose signature is wanting or wrong: it proves nothing."""


class UnknownAnswer(ClientError):  # noqa: N818 - named for what happened
    """An answer of another form than this client knows. What was asked for may be done."""


class StreamEnded(ClientError):  # noqa: N818 - named for what happened
    """The server closed the live stream with a code that coming back does not help against."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
