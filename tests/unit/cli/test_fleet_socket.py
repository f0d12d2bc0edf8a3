"""Which control socket a command asks."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ectools.cli.fleet_socket import CONTROL_SOCKET, open_client, socket_option
from ectools.netboot.api.client import NoServerError


@click.command()
@socket_option
def ask(*, sock: Path | None) -> None:
    click.echo(str(sock))


def test_it_is_the_services_unless_another_is_named() -> None:
    assert CliRunner().invoke(ask, []).output == "None\n"
    assert CliRunner().invoke(ask, ["--socket", "/run/x"]).output == "/run/x\n"
    assert f"[default: {CONTROL_SOCKET}]" in " ".join(CliRunner().invoke(ask, ["--help"]).output.split())


def test_where_nobody_answers_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoServerError, match=r"none\.sock: no boot server answers there"):
        open_client(tmp_path / "none.sock").get("nodes")
