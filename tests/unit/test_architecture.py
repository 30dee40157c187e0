"""What the import linter can't see: who imports the extension, and what the verifier and the configuration import."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_MODULES = sorted(path for package in ("keno", "gateway", "workers") for path in (_ROOT / package).rglob("*.py"))
_CORE_USERS = {Path("keno/game"), Path("keno/fairness"), Path("keno/fairness/rng")}
_OF_REQUESTS = {
    f"keno._core.{name}"
    for name in (
        "Ed25519Signer",
        "Ed25519Verifier",
        "HeaderFields",
        "SignedRequest",
        "content_digest",
        "fingerprints",
        "mac_answer",
        "request_base",
    )
}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide what they reach"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_the_game_and_fairness_import_the_extension_for_more_than_requests() -> None:
    users = {
        path for path in _MODULES if any(name.startswith("keno._core") for name in set(_imports(path)) - _OF_REQUESTS)
    }
    assert {path.parent.relative_to(_ROOT) for path in users} == _CORE_USERS


def test_the_verifier_imports_the_standard_library_only() -> None:
    imported = {name.partition(".")[0] for name in _imports(_ROOT / "keno" / "verifier.py")}
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: str(path.relative_to(_ROOT)))
def test_only_the_configuration_reads_the_environment(path: Path) -> None:
    readers = {"os.environ", "os.getenv"}
    names = {f"os.{node.attr}" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    allowed = {"keno/config.py", "keno/infra/embedded_process.py"}
    assert str(path.relative_to(_ROOT)) in allowed or not readers & names
