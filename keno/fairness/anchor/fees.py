"""What a transaction offers for a unit of gas (EIP-1559), in wei: at first, and to replace one that is stuck.

Pure. Not here: what the chain asks for (`ethereum.py`), and when a transaction is stuck (`anchorer.py`).
"""

from dataclasses import dataclass

# Nodes replace a transaction only by one that pays at least a tenth more in both; some ask for an eighth.
_BUMP_NUMERATOR, _BUMP_DENOMINATOR = 9, 8


@dataclass(frozen=True, slots=True)
class Fees:
    """At most `max_fee_wei` a unit of gas, of which the block's proposer gets at most `tip_wei`."""

    max_fee_wei: int
    tip_wei: int


def first(base_fee_wei: int, tip_wei: int, cap_wei: int) -> Fees:
    """Fees that hold while the base fee doubles, which takes six full blocks; never above the cap, nor nothing."""
    max_fee_wei = min(max(2 * base_fee_wei + tip_wei, 1), cap_wei)
    return Fees(max_fee_wei, min(tip_wei, max_fee_wei))


def bumped(stuck: Fees, base_fee_wei: int, tip_wei: int, cap_wei: int) -> Fees | None:
    """Fees that replace those of a stuck transaction; None where that would pass the cap."""
    now = first(base_fee_wei, tip_wei, cap_wei)
    max_fee_wei = max(_more(stuck.max_fee_wei), now.max_fee_wei)
    if max_fee_wei > cap_wei:
        return None
    return Fees(max_fee_wei, min(max(_more(stuck.tip_wei), now.tip_wei), max_fee_wei))


def _more(wei: int) -> int:
    # At least 1 more: a tip of 0 must grow too.
    return max(-(-wei * _BUMP_NUMERATOR // _BUMP_DENOMINATOR), wei + 1)
