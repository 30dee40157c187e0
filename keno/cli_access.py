"""The commands about who may come in: operators' keys and networks, the keys that we sign with, staff."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from cyclopts import App, Parameter

from keno import config
from keno.bootstrap import Platform, platform
from keno.errors import KenoError
from keno.identity.networks import checked_networks
from keno.identity.operators import Operator
from keno.identity.staff import Role
from keno.identity.staff_service import Credentials

signing_key = App(name="signing-key", help="The keys that we sign with.")
staff = App(name="staff", help="Who may log in to the portal.")

_ACTOR = "command line"

Purpose = Literal["player-token", "wallet-callback"]


def register(app: App, operator: App) -> None:
    """Add these commands to the whole command and to `keno operator`."""
    app.command(signing_key)
    app.command(staff)
    operator.command(list_keys, name="keys")
    operator.command(revoke_key, name="revoke-key")
    operator.command(set_networks, name="networks")


async def list_keys(name: str) -> int:
    """Show an operator's keys, the oldest first."""
    async with platform(config.load()) as services:
        keys = await services.access.keys((await _operator(services, name)).id)
    for key in keys:
        state = "active" if key.revoked_ms is None else f"revoked {_at(key.revoked_ms)}"
        print(f"{key.id}  {key.algorithm}  added {_at(key.created_ms)}  {state}")  # noqa: T201
    return 0


async def revoke_key(name: str, key_id: str, *, even_last: bool = False) -> int:
    """Revoke an operator's key for good; the last one only with --even-last."""
    async with platform(config.load()) as services:
        found = await _operator(services, name)
        if even_last and key_id in {key.id for key in await services.access.keys(found.id)}:
            await services.identity.revoke_key(key_id, actor=_ACTOR)
        else:
            await services.access.revoke_key(found.id, key_id, actor=_ACTOR)
    return 0


async def set_networks(name: str, *network: str, anywhere: bool = False) -> int:
    """Let an operator call from these networks only, or from anywhere; without either, show from where it may."""
    if network and anywhere:
        raise KenoError("give either networks or --anywhere")
    networks = checked_networks(network)
    async with platform(config.load()) as services:
        found = await _operator(services, name)
        if networks or anywhere:
            await services.access.set_networks(found.id, networks, actor=_ACTOR)
        for each in await services.access.networks(found.id):
            print(each)  # noqa: T201
    return 0


@signing_key.command(name="list")
async def list_signing_keys() -> int:
    """Show the keys that are published, the newest first."""
    async with platform(config.load()) as services:
        for key in await services.signing_keys.listed():
            print(f"{key.kid}  {key.purpose}  {key.state}  since {_at(key.changed_ms)}")  # noqa: T201
    return 0


@signing_key.command(name="rotate")
async def rotate_signing_key(
    purpose: Purpose = "player-token",
    *,
    compromised: Annotated[bool, Parameter(help="believe nothing any more that the old key signed")] = False,
) -> int:
    """Let the next key sign, make a new next one, and print the id of the one that signs."""
    async with platform(config.load()) as services:
        kid = await services.signing_keys.rotate(purpose, compromised=compromised, actor=_ACTOR)
    print(kid)  # noqa: T201
    return 0


@staff.command(name="add")
async def add_staff(name: str, *, role: Role, operator: str | None = None) -> int:
    """Add somebody, and print what they log in with, this once."""
    async with platform(config.load()) as services:
        operator_id = None if operator is None else (await _operator(services, operator)).id
        credentials = await services.staff.add(name, role, operator_id, actor=_ACTOR)
    _show(credentials)
    return 0


@staff.command(name="reset")
async def reset_staff(name: str) -> int:
    """End somebody's sessions, and print what they log in with from now on, this once."""
    async with platform(config.load()) as services:
        credentials = await services.staff.reset(name, actor=_ACTOR)
    _show(credentials)
    return 0


@staff.command(name="disable")
async def disable_staff(name: str) -> int:
    """End somebody's sessions and let them in no more, until a reset."""
    async with platform(config.load()) as services:
        await services.staff.disable(name, actor=_ACTOR)
    return 0


@staff.command(name="list")
async def list_staff() -> int:
    """Show everybody, by name."""
    async with platform(config.load()) as services:
        for each in await services.staff.listed():
            print(f"{each.name}  {each.role}  {each.operator_id or 'all operators'}  {each.status}")  # noqa: T201
    return 0


async def _operator(services: Platform, name: str) -> Operator:
    found = await services.identity.operator(name)
    if found is None:
        raise KenoError(f"there is no operator named {name}")
    return found


def _show(credentials: Credentials) -> None:
    print(f"password   {credentials.password}")  # noqa: T201
    print(f"one-time   {credentials.totp_uri}")  # noqa: T201


def _at(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")
