"""The configuration: what may be set, and that all of it is written down."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from keno import config
from keno.errors import ConfigError

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def _settings() -> set[str]:
    """What the source reads from the environment: no other string in it looks so."""
    tree = ast.parse(Path(config.__file__).read_text())
    strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {each for each in strings if re.fullmatch("KENO_[A-Z_]+", each)}


def test_every_setting_is_in_the_table_of_operations_and_nothing_else() -> None:
    section = OPERATIONS.read_text().partition("## Settings\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(KENO_[A-Z_]+)` \| \S.* \| \S.* \|$", section, re.MULTILINE)
    assert sorted(listed) == sorted(_settings())


def test_every_setting_is_said_where_it_is_read() -> None:
    described = re.findall(r"^(KENO_.*?)(?:  |$)", config.__doc__ or "", re.MULTILINE)
    assert sorted(name for line in described for name in line.split(", ")) == sorted(_settings())


def test_players_are_sent_to_our_own_page_unless_another_is_named() -> None:
    origins = {"KENO_PUBLIC_ORIGINS": "https://keno.example,https://other.example"}
    assert config.load(origins).launch_url == "https://keno.example/play"
    named = origins | {"KENO_LAUNCH_URL": "https://games.example/keno?skin=2"}
    assert config.load(named).launch_url == "https://games.example/keno?skin=2"


def test_pages_and_proxies_are_trusted_only_where_they_are_named() -> None:
    assert (config.load({}).player_origins, config.load({}).proxies_count) == ((), 0)
    named = config.load({"KENO_PLAYER_ORIGINS": "https://a.example,https://b.example", "KENO_PROXIES_COUNT": "2"})
    assert (named.player_origins, named.proxies_count) == (("https://a.example", "https://b.example"), 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KENO_LAUNCH_URL", "keno.example/play"),
        ("KENO_LAUNCH_URL", "https://keno.example/play#here"),
        ("KENO_PLAYER_ORIGINS", "*"),
        ("KENO_PLAYER_ORIGINS", "https://*.example"),
        ("KENO_PLAYER_ORIGINS", "https://a.example/"),
        ("KENO_PUBLIC_ORIGINS", "keno.example"),
        ("KENO_DATABASE_URL", ""),
        ("KENO_VAULT_DATABASE_URL", ""),
        ("KENO_AMQP_URL", "rabbitmq.example:5672"),
        ("KENO_LOG_ORIGIN", "keno.example/a log"),
        ("KENO_LOG_ORIGIN", ""),
        ("KENO_PROXIES_COUNT", "-1"),
        ("KENO_PROXIES_COUNT", "17"),
    ],
)
def test_what_cannot_be_used_is_an_error_that_names_it(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        config.load({name: value})


def test_the_vaults_keys_are_not_in_the_text_of_the_configuration() -> None:
    loaded = config.load({"KENO_VAULT_KEY": "ab" * 32, "KENO_VAULT_OLD_KEYS": "cd" * 32})
    assert (loaded.vault_key, loaded.vault_old_keys) == ("ab" * 32, "cd" * 32)
    assert "abab" not in repr(loaded)
    assert "cdcd" not in repr(loaded)


def test_old_keys_without_a_current_one_are_an_error() -> None:
    with pytest.raises(ConfigError, match="KENO_VAULT_KEY"):
        config.load({"KENO_VAULT_OLD_KEYS": "cd" * 32})


_NODE = {"KENO_ETHEREUM_RPC_URL": "https://user:secret@node.example", "KENO_ETHEREUM_CHAIN_ID": "1"}


def test_nothing_is_anchored_without_a_node_and_a_contract() -> None:
    assert not config.load({"KENO_ETHEREUM_CONTRACT": "0x" + "ab" * 20}).anchors
    assert not config.load(_NODE).anchors
    named = config.load(_NODE | {"KENO_ETHEREUM_CONTRACT": "0x" + "aB" * 20})
    assert named.anchors
    assert named.ethereum is not None
    assert (named.ethereum.chain_id, named.ethereum.contract) == (1, bytes([0xAB]) * 20)
    assert "secret" not in repr(named)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KENO_ETHEREUM_RPC_URL", "node.example"),
        ("KENO_ETHEREUM_CHAIN_ID", "0"),
        ("KENO_ETHEREUM_CONTRACT", "ab" * 20),
        ("KENO_ETHEREUM_CONTRACT", "0x" + "ab" * 19),
        ("KENO_ETHEREUM_CONFIRMATIONS", "0"),
        ("KENO_ETHEREUM_INTERVAL_S", "0"),
        ("KENO_ETHEREUM_MAX_FEE_GWEI", "1.5"),
        ("KENO_ETHEREUM_STUCK_S", "1"),
    ],
)
def test_a_setting_of_anchors_that_cannot_be_used_is_an_error_that_names_it(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        config.load(_NODE | {name: value})


def test_a_node_whose_chain_is_not_named_is_an_error() -> None:
    with pytest.raises(ConfigError, match="KENO_ETHEREUM_CHAIN_ID"):
        config.load({"KENO_ETHEREUM_RPC_URL": "https://node.example"})
