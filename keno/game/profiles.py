"""The three RTP profiles that an operator can choose, and the paytables shipped for them.

The documents lie in `paytables/` beside this file and are published as they are, so a change of a single byte is
another paytable: raise its version instead. Figures and design: `docs/paytables.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from keno.errors import KenoError
from keno.game.paytable import Paytable, parse

RTP_TOLERANCE = Fraction(1, 200)
"""How far the return of any pick count may lie from its profile's: half a percentage point."""


class ProfileError(KenoError):
    """There is no RTP profile of that name."""


@dataclass(frozen=True, slots=True)
class RtpProfile:
    """A promised return: `rtp_bounds` (inclusive) hold for every pick count of every paytable offered under it."""

    name: str
    rtp: Fraction
    paytable_file: str

    @property
    def rtp_bounds(self) -> tuple[Fraction, Fraction]:
        return self.rtp - RTP_TOLERANCE, self.rtp + RTP_TOLERANCE


RTP_PROFILES: MappingProxyType[str, RtpProfile] = MappingProxyType(
    {str(percent): RtpProfile(str(percent), Fraction(percent, 100), f"keno-{percent}.json") for percent in (92, 94, 96)}
)


def rtp_profile(name: str) -> RtpProfile:
    """The profile named "92", "94" or "96". Raises `ProfileError`."""
    profile = RTP_PROFILES.get(name)
    if profile is None:
        raise ProfileError(f"unknown RTP profile {name!r}, expected one of {', '.join(RTP_PROFILES)}")
    return profile


@cache
def shipped_paytable(name: str) -> Paytable:
    """The paytable shipped for the profile `name`, read once from this package. Raises `ProfileError`."""
    return parse((files("keno.game") / "paytables" / rtp_profile(name).paytable_file).read_bytes())
