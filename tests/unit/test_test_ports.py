"""The ports that tests give their servers."""

import subprocess
import sys

import pytest
from support.ports import free_ports

_TAKE = "import sys; sys.path.insert(0, 'tests'); from support.ports import free_ports; print(*free_ports(4))"


def test_a_block_is_consecutive_and_never_given_twice() -> None:
    taken = [free_ports(4) for _ in range(40)]
    assert all(ports == list(range(ports[0], ports[0] + 4)) for ports in taken)
    assert len({port for ports in taken for port in ports}) == 160


def test_another_process_gets_others_while_this_one_lives() -> None:
    with subprocess.Popen([sys.executable, "-i", "-c", _TAKE], stdin=-1, stdout=-1, stderr=-3, text=True) as other:
        assert other.stdout is not None
        theirs = set(map(int, other.stdout.readline().split()))
        ours = {port for _ in range(200) for port in free_ports(1)}
        other.communicate("")
    assert len(theirs) == 4
    assert not theirs & ours


def test_more_ports_than_a_block_has_are_refused() -> None:
    with pytest.raises(ValueError, match="a block has 63 ports: 64"):
        free_ports(64)
