"""The frames of the live stream: their document, their wire form, and what a body leaves out."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from gateway.live.wire import PING, TEXT, encoded
from keno.notify import frames
from keno.notify.asyncapi import document

_DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi-live.json"


def test_the_published_document_is_that_of_the_frames() -> None:
    assert json.loads(_DOCUMENT.read_text()) == document()


def test_every_type_of_frame_is_a_message_of_the_document() -> None:
    described = document()
    names = {each["name"] for each in described["components"]["messages"].values()}
    assert {"subscribe", "bet", "ping", "round.opened", "round.settled", "bet.settled", "snapshot"} <= names
    for message in described["components"]["messages"].values():
        assert message["payload"]["$ref"].rpartition("/")[2] in described["components"]["schemas"]


@given(payload=st.binary(max_size=300), size=st.sampled_from([0, 100, 70_000]), ping=st.booleans())
def test_a_frame_on_the_wire_is_what_another_library_sends(payload: bytes, size: int, ping: bool) -> None:
    data = payload[:125] if ping else payload + b"x" * size
    theirs = Frame(Opcode.PING if ping else Opcode.TEXT, data).serialize(mask=False)
    assert encoded(data, PING if ping else TEXT) == theirs


@given(seq=st.integers(0, 2**53 - 1), number=st.integers(0, 2**40))
def test_a_numbered_body_is_the_frame_with_its_number(seq: int, number: int) -> None:
    whole = frames.RoundSkipped(channel="player", seq=seq, number=number)
    sent = frames.numbered("player", seq, frames.body_of(whole))
    assert msgspec.json.decode(sent, type=frames.Told) == whole


@pytest.mark.parametrize("channel", ["rounds", "room:1", "player:7:EUR", "room:" + "A" * 36, "player\n"])
def test_channels_of_our_own_have_no_name_for_clients(channel: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        frames.asked_decoder.decode(json.dumps({"type": "subscribe", "channels": [channel]}).encode())
