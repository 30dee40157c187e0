"""The page `/verify`: what is served, how it is cached, and that nothing in it needs or allows another host."""

import hashlib
import json
import re
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any, cast

import pytest
from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.testing import TestClient
from redis.asyncio import Redis
from support.javascript import NODE

from gateway.http import response
from gateway.problems import ProblemError, problem_of
from gateway.rest import pages
from gateway.web import verifying
from gateway.web.pages import Asset, texts_of
from gateway.web.verifying import FOLDER, MODULES, OFFLINE_NAME, assets
from keno.infra.cache import Cache
from keno.texts.languages import Language
from keno.texts.service import Texts

PATHS = ("/verify", *(f"/verify/{name}" for name in assets()))


def opened(cors: CORSConfig | None = None) -> TestClient[Litestar]:
    return TestClient(
        Litestar(
            route_handlers=pages.verify_routes(Texts(cast("Any", None), Cache(Redis(), bytes(32)))),
            exception_handlers={ProblemError: lambda _, error: response(problem_of(error))},
            cors_config=cors,
            openapi_config=None,
        )
    )


@pytest.fixture(scope="module")
def client() -> TestClient[Litestar]:
    return opened()


def test_the_page_loads_what_is_served_and_named_by_its_content(client: TestClient[Litestar]) -> None:
    page = client.get("/verify")
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|href)="(/verify/verify\.([0-9a-f]{16})\.(js|css))"', page.text)
    assert {kind for _, _, kind in loaded} == {"js", "css"}
    for path, digest, kind in loaded:
        asset = client.get(path)
        assert hashlib.sha256(asset.content).hexdigest().startswith(digest)
        assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert asset.headers["Content-Type"] == f"text/{'javascript' if kind == 'js' else 'css'}; charset=utf-8"


def test_the_page_is_made_once_for_each_language_however_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made, page = [], verifying.page

    def counted(language: Language) -> Asset:
        made.append(language.tag)
        return page(language)

    monkeypatch.setattr(verifying, "page", counted)
    asking = opened()
    for headers in ({}, {"Accept-Language": "en"}, {"Accept-Language": "de"}) * 2:
        assert asking.get("/verify", headers=headers).status_code == 200
    assert made == ["en", "de"]


def test_no_shared_cache_gives_the_page_of_one_language_to_another() -> None:
    asking = opened(CORSConfig(allow_origins=["https://casino.example"]))
    for headers in ({}, {"Origin": "https://casino.example"}):
        assert asking.get("/verify", headers=headers).headers["Cache-Control"] == "private, max-age=300"


def test_the_page_may_load_and_ask_this_host_alone(client: TestClient[Litestar]) -> None:
    policy = client.get("/verify").headers["Content-Security-Policy"].split("; ")
    assert "default-src 'none'" in policy
    assert {"script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in " ".join(policy)


def test_the_file_to_keep_holds_everything_and_allows_no_connection(client: TestClient[Litestar]) -> None:
    answer = client.get(f"/verify/{OFFLINE_NAME}")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{OFFLINE_NAME}"'
    meta = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', answer.text)
    assert meta
    for directive, tag in (("script-src", "script"), ("style-src", "style")):
        inline = re.search(rf"<{tag}[^>]*>(.*?)</{tag}>", answer.text, re.DOTALL)
        assert inline
        digest = b64encode(hashlib.sha256(inline[1].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in meta[1]
    assert "connect-src" not in meta[1]
    assert "default-src 'none'" in meta[1]
    assert not re.search(r'(?:src|href)="/', answer.text)
    assert 'id="round"' not in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_nothing_of_it_names_another_host(client: TestClient[Litestar], path: str) -> None:
    answer = client.get(path)
    assert not re.search(r"https?://|//[a-z0-9-]+\.", answer.text)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_has_no_inline_code(client: TestClient[Litestar]) -> None:
    page = client.get("/verify").text
    assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) == [""]
    assert not re.search(r"<style|\son[a-z]+=|style=|javascript:", page)


@pytest.mark.parametrize("name", ["nothing", "page.mjs", "..", "%2e%2e%2fverifying.py", "index.html"])
def test_nothing_else_is_served(client: TestClient[Litestar], name: str) -> None:
    assert client.get(f"/verify/{name}").status_code == 404


def test_the_joined_script_is_one_valid_module(tmp_path: Path) -> None:
    script = tmp_path / "joined.mjs"
    script.write_bytes(next(asset.body for name, asset in assets().items() if name.endswith(".js")))
    done = subprocess.run([NODE, "--check", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search(r"^(?:import|export)\b", script.read_text(), re.MULTILINE)


def test_every_check_of_the_verifier_has_a_name_in_the_languages_of_the_page_and_no_other_has() -> None:
    named = re.compile(
        r"""(?:report\.(?:ok|fail|missing|skip|equal|faultless)\(|const name = )(?:"([^"]+)"|`([^`]+)`)"""
    )
    checks = FOLDER / "checks.mjs"
    found = {plain or of_one for path in FOLDER.glob("*.mjs") for plain, of_one in named.findall(path.read_text())}
    of_one = {"paytable ${hash.slice(0, 16)}", "RTP of ${name}", "lock seen by ${key}"}
    assert of_one <= found
    said = set(texts_of(checks.read_text()))
    assert said == found - of_one | {"paytable {hash}", "RTP of paytable {hash}", "lock seen by {key}"}


def test_a_check_is_called_in_the_language_of_the_page_as_what_it_is_about() -> None:
    script = f"""
        import {{ learn }} from "{FOLDER.parent / "texts.mjs"}";
        import {{ checkNames }} from "{FOLDER / "checks.mjs"}";
        learn({{ de: {{ lock: "Abschluss", "RTP of paytable {{hash}}": "RTP von {{hash}}" }} }}, "de");
        const names = ["lock", "RTP of paytable 12ab", "lock seen by k-1", "new"];
        console.log(JSON.stringify(names.map(checkNames())));
    """
    done = subprocess.run([NODE, "--input-type=module", "--eval", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["Abschluss", "RTP von 12ab", "lock seen by k-1", "new"]


def test_every_module_of_the_verifier_is_joined_but_those_of_the_command() -> None:
    assert {path.name for path in FOLDER.glob("*.mjs")} - {"cli.mjs", "text.mjs"} == set(MODULES) - {"../texts.mjs"}
