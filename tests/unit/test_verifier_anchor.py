"""What the verifier makes of a node given with --anchor: none of its answers ends it, or passes for the right one."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.bundles import House, dump

from keno import verifier
from keno.verifier import INCOMPLETE, MALFORMED, EthereumNode, LogTrust

ARTIFACT = Path(verifier.__file__).parent / "fairness" / "anchor" / "LogAnchor.json"
HASH = "00" * 32


def anchored_lines() -> list[dict[str, Any]]:
    """An honest round with an anchor line, but without a log."""
    lines = House().play(1)
    names = next({"room": line["room"], "round": line["round"]} for line in lines if line["type"] == "round")
    place = {"chain_id": 31_337, "contract": "11" * 20, "transaction": HASH, "block": 1}
    return [*lines, {"type": "anchor"} | names | place | {"size": 1, "root": HASH, "paths": [[], [], []]}]


@contextmanager
def fake_node(answer: bytes, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Iterator[str]:
    """Answers every question with the same bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for header in headers:
                self.send_header(*header)
            self.end_headers()
            with suppress(OSError):  # the verifier may have had enough
                self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", 200),
        (b"hello", 200),
        (b"[" * 100_000, 200),
        (b"[]", 200),
        (b'{"result":null}', 200),
        (b'{"result":7}', 200),
        (b'{"result":"0xzz"}', 200),
        (b'{"result":"0x' + b"1" * 500_000 + b'"}', 200),
        (b'{"error":{"code":-32000,"message":"no\\n more"}}', 200),
        (b'{"error":7}', 200),
        (b'{"result":"0x' + b"1" * 2_000_000 + b'"}', 200),
        (b'{"result":"0x7a69"}', 500),
        (b'{"result":"0x7a69"}', 307),
        (b"\xff\xfe", 200),
    ],
)
def test_a_node_that_talks_nonsense_leaves_the_round_incomplete(answer: bytes, status: int) -> None:
    with fake_node(answer, status, (("Location", "http://127.0.0.1:1/"),)) as url:
        trust = LogTrust(node=EthereumNode(url))
        (file,) = verifier.verify_bundles({"bundle": dump(anchored_lines())}, None, trust)
    checks = {check.name: check.verdict for check in file.rounds[0].checks if "anchor" in check.name}
    assert file.status == INCOMPLETE
    assert checks == {"anchor inclusion": "missing", "anchor on the chain": "missing"}


def test_a_node_that_cannot_be_reached_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_node(b"") as url:
        pass
    node, asked = EthereumNode(url), []
    exchange = node._exchange
    monkeypatch.setattr(node, "_exchange", lambda body: asked.append(body) or exchange(body))
    (file,) = verifier.verify_bundles({"bundle": dump(anchored_lines())}, None, LogTrust(node=node))
    verifier.verify_bundles({"bundle": dump(anchored_lines())}, None, LogTrust(node=node))
    assert file.status == INCOMPLETE
    assert len(asked) == 1


def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "NODE_TIMEOUT_S", 0.0)
    monkeypatch.setattr(verifier.time, "monotonic", iter(range(100)).__next__)
    with fake_node(b'{"result":"0x7a69"}') as url, pytest.raises(verifier.NodeError):
        EthereumNode(url).chain_id()


@pytest.mark.parametrize(
    "options",
    [
        ["--anchor", "file:///etc/passwd"],
        ["--anchor", "node.example"],
        ["--anchor", ""],
        ["--anchor-contract", "0x" + "11" * 20],
        ["--anchor", "http://node.example", "--anchor-contract", "11" * 20],
        ["--anchor", "http://node.example", "--anchor-contract", "0x11"],
    ],
)
def test_an_option_that_cannot_be_meant_is_wrong_use(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bundle"
    path.write_bytes(dump(House().play(1)))
    assert verifier.main([*options, str(path)]) == MALFORMED
    assert "--anchor" in capsys.readouterr().err


def test_the_verifier_knows_the_code_of_the_contract_that_is_shipped() -> None:
    code = bytes.fromhex(json.loads(ARTIFACT.read_text())["runtime_code"])
    assert hashlib.sha256(code).digest() == verifier.ANCHOR_CODE


def test_what_anchors_import_leaves_the_depth_of_recursion_alone() -> None:
    ours = "import sys; depth = sys.getrecursionlimit(); import keno.fairness.anchor.ethereum"
    program = f"{ours}; assert sys.getrecursionlimit() == depth"
    subprocess.run([sys.executable, "-c", program], check=True)
