"""Every right to use a NATS server that the option's file can hold, and TLS, each with a real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import nats.errors
import pytest
from support.nats_accounts import make_accounts, make_certificates, make_user_key
from support.nats_servers import NATS_SERVERS, NatsServer, start_nats
from support.shared_stores import until

from ectools.netboot.state.interface import StateError
from ectools.netboot.state.nats_access import NatsAddress, build_tls, parse_nats_credentials
from ectools.netboot.state.nats_client import make_client
from ectools.netboot.state.nats_connection import open_bucket

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ectools.netboot.state.nats_bucket import NatsBucket


async def open_with(credentials: str, url: str, *, ca_file: Path | None) -> NatsBucket:
    """Raises StateError."""
    address = NatsAddress(servers=(url,), bucket="every-channel", ca_file=ca_file)
    parsed = parse_nats_credentials(credentials, option="o")
    return await open_bucket(address, url, parsed, build_tls(address), name="host")


async def use(
    server: NatsServer, credentials: str | None, *, scheme: str = "nats", ca_file: Path | None = None
) -> None:
    """Write and read by the file's text. Raises StateError."""
    url = f"{scheme}://{server.host}:{server.port}"
    bucket = await open_with(credentials or "nobody-s-token", url, ca_file=ca_file)
    try:
        await bucket.put("slots/g", {"n": 1}, changed=1.0, expected=0)
        found = await bucket.get("slots/g")
        assert found is not None
        assert found.value == {"n": 1}
    finally:
        await bucket.close()


@pytest.fixture(params=["nkey", "jwt", "user", "token"])
def right(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """The text of ``fleet.stateCredentialsFile``, and the server's configuration that lets it in."""
    user, accounts = make_user_key(), make_accounts()
    texts: Mapping[str, tuple[str, str]] = {
        "nkey": (f"{user.seed}\n", f"authorization {{ users = [ {{ nkey: {user.public} }} ] }}\n"),
        "jwt": (accounts.credentials, accounts.configuration),
        "user": (
            "user=boot\npassword=p=a ss\n",
            'authorization { user: boot, password: "p=a ss" }\n',
        ),
        "token": ("a-token-of-it\n", "authorization { token: a-token-of-it }\n"),
    }
    credentials, configuration = texts[request.param]
    file = tmp_path / "nats.conf"
    file.write_text(configuration)
    return credentials, file


@pytest.mark.parametrize("origin", NATS_SERVERS)
def test_each_kind_of_right_lets_in_and_another_does_not(
    tmp_path: Path, origin: str, right: tuple[str, Path]
) -> None:
    credentials, file = right
    with start_nats(tmp_path / "nats", origin, options=["-c", str(file)]) as server:
        asyncio.run(use(server, credentials))
        for wrong in (make_user_key().seed, make_accounts().credentials, "user=boot\npassword=q", None):
            with pytest.raises(StateError, match=r"(?i)authorization|permissions") as caught:
                asyncio.run(use(server, wrong))
            assert wrong is None or wrong not in str(caught.value)


@pytest.mark.parametrize("origin", NATS_SERVERS)
@pytest.mark.parametrize("scheme", ["nats", "tls"])
def test_a_servers_certificate_is_held_against_the_ca(tmp_path: Path, origin: str, scheme: str) -> None:
    mine, others = (make_certificates(tmp_path / name) for name in ("mine", "others"))
    with start_nats(tmp_path / "nats", origin, options=mine.options) as server:
        asyncio.run(use(server, None, scheme=scheme, ca_file=mine.ca))
        with pytest.raises(StateError, match=r"(?i)certificate"):
            asyncio.run(use(server, None, scheme=scheme, ca_file=others.ca))


@pytest.mark.parametrize("origin", NATS_SERVERS)
def test_a_certificate_of_another_name_is_none(tmp_path: Path, origin: str) -> None:
    made = make_certificates(tmp_path / "made", address="127.0.0.2")
    with start_nats(tmp_path / "nats", origin, options=made.options) as server:
        with pytest.raises(StateError, match=r"(?i)certificate"):
            asyncio.run(use(server, None, ca_file=made.ca))


@pytest.mark.parametrize("origin", NATS_SERVERS)
def test_who_asks_for_tls_does_not_do_without(tmp_path: Path, origin: str) -> None:
    ca_file = make_certificates(tmp_path / "made").ca
    with start_nats(tmp_path / "nats", origin, options=["--auth", "a-token-of-it"]) as server:
        for scheme in ("nats", "tls"):
            with pytest.raises(StateError, match="does not use TLS"):
                asyncio.run(use(server, "a-token-of-it", scheme=scheme, ca_file=ca_file))
        asyncio.run(use(server, "a-token-of-it"))


@pytest.mark.parametrize("is_encrypted", [True, False])
def test_whoever_leaves_the_word_out_is_told_nothing(tmp_path: Path, is_encrypted: bool) -> None:
    """Somebody between a host and its server, who passes all on but that TLS is to be used."""
    ca_file = make_certificates(tmp_path / "made").ca if is_encrypted else None
    said: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id": "x", "version": "2.10.0", "max_payload": 1048576}\r\n')
        # Up to the end of the connection, which does not stay open either.
        said.append(await reader.read())
        writer.close()

    async def scenario() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as between:
            port = between.sockets[0].getsockname()[1]
            with pytest.raises(StateError):
                await open_with("a-token-of-it", f"nats://127.0.0.1:{port}", ca_file=ca_file)
            await until(lambda: said)

    asyncio.run(scenario())
    assert [b"a-token-of-it" in each for each in said] == [not is_encrypted]
    assert not is_encrypted or said == [b""]


def test_a_client_that_has_heard_nothing_says_nothing() -> None:
    with pytest.raises(nats.errors.Error, match="does not use TLS"):
        make_client(is_encrypted=True)._connect_command()
