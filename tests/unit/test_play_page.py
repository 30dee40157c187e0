"""The page `/play`: how it is served, in which languages, and what its modules make of what the server tells."""

import hashlib
import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from redis.asyncio import Redis
from support.javascript import NODE

from gateway.http import response
from gateway.problems import ProblemError, problem_of
from gateway.rest import pages
from gateway.web.playing import FOLDER, MODULES, assets
from keno import config
from keno.infra.cache import Cache
from keno.texts.languages import LANGUAGES
from keno.texts.service import Texts

ENVIRONMENT = {"KENO_PUBLIC_ORIGINS": "https://keno.example", "KENO_PLAYER_ORIGINS": "https://casino.example"}
TESTS = Path(__file__).with_name("test_play_page.mjs")


def opened(environment: dict[str, str]) -> TestClient[Litestar]:
    texts = Texts(cast("Any", None), Cache(Redis(), bytes(32)))
    return TestClient(
        Litestar(
            route_handlers=pages.play_routes(texts, config.load(environment)),
            exception_handlers={ProblemError: lambda _, error: response(problem_of(error))},
            openapi_config=None,
        )
    )


@pytest.fixture(scope="module")
def client() -> TestClient[Litestar]:
    return opened(ENVIRONMENT)


def test_the_page_may_load_and_ask_its_own_host_alone_and_be_framed_by_casinos(client: TestClient[Litestar]) -> None:
    page = client.get("/play")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert set(policy) == {
        "default-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self' wss://keno.example",
        "img-src data:",
        "frame-ancestors 'self' https://casino.example",
    }
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Cache-Control"] == "no-cache"
    assert page.headers["Vary"] == "Accept-Language"


def test_without_a_proxy_the_page_finds_the_live_stream_on_its_port() -> None:
    page = opened({"KENO_PORT": "9000"}).get("/play")
    assert 'data-live="ws://127.0.0.1:9001/v1/live"' in page.text
    assert "connect-src 'self' ws://127.0.0.1:9001/v1/live" in page.headers["Content-Security-Policy"]


def test_the_page_has_no_inline_code_and_loads_what_is_named_by_its_content(client: TestClient[Litestar]) -> None:
    page = client.get("/play").text
    assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) == [""]
    assert not re.search(r"<style|\son[a-z]+=|style=|javascript:", page)
    loaded = re.findall(r'(?:src|href)="(/play/play\.([0-9a-f]{16})\.(js|css))"', page)
    assert {kind for _, _, kind in loaded} == {"js", "css"}
    for path, digest, _ in loaded:
        asset = client.get(path)
        assert hashlib.sha256(asset.content).hexdigest().startswith(digest)
        assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    ("language", "label"),
    [("en", "Place bet"), ("de", "Wette abgeben"), ("es", "Apostar"), ("pt", "Apostar"), ("ja", "賭ける")],
)
def test_the_page_is_in_the_language_of_the_browser_and_carries_the_others(
    client: TestClient[Litestar], language: str, label: str
) -> None:
    page = client.get("/play", headers={"Accept-Language": language})
    assert page.headers["Content-Language"] == language
    assert f'<html lang="{language}">' in page.text
    assert f">{label}</button>" in page.text
    found = re.search(r'data-texts="([^"]*)"', page.text)
    assert found
    carried = json.loads(html.unescape(found[1]))
    assert set(carried) == set(LANGUAGES)
    assert carried["de"]["Round {number}"] == "Runde {number}"
    assert carried["en"] == {}


@pytest.mark.parametrize("name", ["nothing", "page.mjs", "..", "index.html"])
def test_nothing_else_is_served(client: TestClient[Litestar], name: str) -> None:
    assert client.get(f"/play/{name}").status_code == 404


def test_every_module_is_joined_into_one_valid_script(tmp_path: Path) -> None:
    assert {path.name for path in FOLDER.glob("*.mjs")} == {name for name in MODULES if "/" not in name}
    script = tmp_path / "joined.mjs"
    script.write_bytes(next(asset.body for name, asset in assets().items() if name.endswith(".js")))
    done = subprocess.run([NODE, "--check", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search(r"^(?:import|export)\b", script.read_text(), re.MULTILINE)


def test_the_page_knows_no_rule_by_which_anything_is_drawn_or_won() -> None:
    for name in MODULES:
        source = (FOLDER / name).read_text()
        assert not re.search(r"paytable|multiplier|sha-?256|seed", source, re.IGNORECASE), name
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\b|parseFloat|toFixed", source), name


def test_the_modules_do_what_their_own_tests_say() -> None:
    done = subprocess.run([NODE, "--test", "--test-reporter=tap", TESTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout
