"""The commands of the certification kit: single draws, exports of the generator, and the statistical report.

What computes is imported by the commands that compute: numpy is there only with the extra `rng`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter, validators

from keno.errors import KenoError
from keno.fairness.keno1 import draw_numbers
from keno.fairness.rng import DRAWS_MIN, stream

rng = App(name="rng", help="The random numbers, for a test laboratory.")

_COUNT_MAX = 10**12
_Hex32 = Annotated[str, Parameter(help="32 bytes in hex")]
_Seed = Annotated[str | None, Parameter(help="32 bytes in hex that all epoch keys follow from; without it, fresh ones")]
_OsKeys = Annotated[bool, Parameter(help="take every epoch key from the operating system: not repeatable")]


def register(app: App) -> None:
    """Add these commands to the whole command."""
    app.command(draw)
    app.command(rng)


def draw(*, seed: _Hex32, x: _Hex32, beacon: _Hex32 = "00" * 32) -> int:
    """Print the 20 numbers that the Rust core derives from raw protocol values, in draw order."""
    numbers = draw_numbers(hex_bytes("--seed", seed, 32), hex_bytes("--x", x, 32), hex_bytes("--beacon", beacon, 32))
    print(" ".join(str(number) for number in numbers))  # noqa: T201
    return 0


@rng.command
def export(
    what: Literal["stream", "draws"],
    *,
    count: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=_COUNT_MAX))] = 1_000_000,
    text: bool = False,
    seed: _Seed = None,
    os_keys: _OsKeys = False,
    out: Path | None = None,
) -> int:
    """Write what the generator gives for `count` rounds, to a file or to the standard output.

    The seed is printed to the standard error: the same seed gives the same bytes.

    Parameters
    ----------
    what
        stream: the HMAC block a draw begins with, 32 bytes a round. draws: its 20 numbers in draw order, a byte each.
    text
        A round a line: blocks in hex, numbers in decimal.
    out
        A file that does not exist yet.
    """
    key = _key(seed, os_keys)
    chunks = stream.blocks(key, count) if what == "stream" else stream.draws(key, count)
    if text:
        chunks = _lines(chunks, _block_line if what == "stream" else _draw_line)
    print(f"seed {'none' if key is None else key.hex()}", file=sys.stderr)  # noqa: T201
    try:
        with nullcontext(sys.stdout.buffer) if out is None else out.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
    except BrokenPipeError:
        # Whoever reads has had enough, as dieharder after its last test. Python flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise KenoError(f"--out: {error.strerror}: {error.filename}") from None
    return 0


@rng.command
def report(
    *,
    draws: Annotated[int, Parameter(validator=validators.Number(gte=DRAWS_MIN, lte=_COUNT_MAX))] = 1_000_000,
    seed: _Seed = None,
    os_keys: _OsKeys = False,
    folder: Path = Path(),
) -> int:
    """Measure draws, and write keno-rng-report.html and keno-rng-report.json into a folder; exit 1 where one fails.

    A million draws take some 20 s. Needs numpy: pip install 'keno[rng]'.
    """
    try:
        from keno.fairness.rng import report as reports  # noqa: PLC0415  numpy is optional, and slow to load
    except ModuleNotFoundError as missing:
        if missing.name != "numpy":
            raise
        raise KenoError("the report needs numpy: pip install 'keno[rng]'") from None
    if not folder.is_dir():
        raise KenoError(f"--folder: {folder} is not a folder")
    made = reports.make(_key(seed, os_keys), draws)
    (folder / "keno-rng-report.json").write_bytes(made.json())
    (folder / "keno-rng-report.html").write_text(reports.page(made))
    for each in made.statistics:
        verdict = "passes" if each.passes else "FAILS"
        figures = f"{each.value:10.2f} of {each.degrees:4d} df, limit {each.limit:8.2f}, p {each.p:.4f}"
        print(f"{each.name:14} {figures}  {verdict}")  # noqa: T201
    print(f"{made.draws:,} draws, seed {made.seed or 'none'}")  # noqa: T201
    return 0 if made.passes else 1


def hex_bytes(option: str, text: str, length: int) -> bytes:
    """The bytes of an option in hex. KenoError: it is no hex, or of another length."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        raise KenoError(f"{option} is not hex") from None
    if len(value) != length:
        raise KenoError(f"{option} has {length} bytes in hex, not {len(value)}")
    return value


def _key(seed: str | None, os_keys: bool) -> bytes | None:
    if os_keys:
        if seed is not None:
            raise KenoError("give either --seed or --os-keys")
        return None
    return os.urandom(32) if seed is None else hex_bytes("--seed", seed, 32)


def _lines(chunks: Iterator[bytes], line: Callable[[bytes], str]) -> Iterator[bytes]:
    for chunk in chunks:
        yield line(chunk).encode()


def _block_line(chunk: bytes) -> str:
    width = stream.BLOCK_BYTES
    return "".join(f"{chunk[at : at + width].hex()}\n" for at in range(0, len(chunk), width))


def _draw_line(chunk: bytes) -> str:
    width = stream.NUMBERS_BYTES
    return "".join(f"{' '.join(map(str, chunk[at : at + width]))}\n" for at in range(0, len(chunk), width))
