"""``ectools netboot dnsmasq``: what is served, and the limit that is loaded for a unit of its own."""

from __future__ import annotations

import json
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.cli.netboot.dnsmasq import COMMAND
from ectools.errors import ProblemsError
from ectools.netboot.dnsmasq.transfer_limit import TransferTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Program

    from ectools.netboot.settings.model import ServerSettings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Callable[[], ServerSettings], Path | None]]:
    """How settings are read, and where the reports go, of each start."""
    found: list[tuple[Callable[[], ServerSettings], Path | None]] = []
    monkeypatch.setattr(
        "ectools.netboot.server.dnsmasq_service.serve_dnsmasq",
        lambda load, *, reports: found.append((load, reports)),
    )
    return found


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The shares that the kernel would be given."""
    found: list[Any] = []
    monkeypatch.setattr(TransferTable, "load", lambda _table, share: found.append(share))
    return found


def write(path: Path, **options: Any) -> Path:
    path.write_text(json.dumps({"listenIP": "192.0.2.1", **options}))
    return path


def test_the_settings_are_read_again_at_each_reload(
    program: Program, served: list[Any], tmp_path: Path, default_config: Path
) -> None:
    write(default_config, httpPort=80)
    given = write(tmp_path / "given.json", httpPort=81)
    assert program(COMMAND) == (0, "", "")
    assert program(COMMAND, "--config", given, "--reports", "/run/r") == (0, "", "")
    (by_default, reports), (by_name, named_reports) = served
    assert (by_default().http_port, by_name().http_port) == (80, 81)
    assert (reports, named_reports) == (None, Path("/run/r"))
    write(given, httpPort=82)
    assert by_name().http_port == 82
    given.write_text("{}")
    with pytest.raises(ProblemsError) as caught:
        by_name()
    assert "listenIP" in str(caught.value.problems)


def test_a_limit_is_loaded_for_a_user_and_nothing_started(
    program: Program, served: list[Any], loaded: list[Any], default_config: Path
) -> None:
    write(default_config, tftp={"maxTransfers": 20})
    user = pwd.getpwuid(0)
    assert program(COMMAND, "--load-limit", user.pw_name)[0] == 0
    (share,) = loaded
    assert (str(share.address), share.max_transfers, share.uid) == ("192.0.2.1", 20, 0)
    assert served == []


def test_a_user_that_is_not_there(
    program: Program, served: list[Any], loaded: list[Any], default_config: Path
) -> None:
    write(default_config)
    status, out, err = program(COMMAND, "--load-limit", "no-such-user")
    assert (status, out) == (2, "")
    assert "there is no user no-such-user" in err
    assert (served, loaded) == ([], [])


def test_the_form_of_the_log_has_three_words(program: Program, served: list[Any]) -> None:
    assert program(COMMAND, "--log-format", "xml")[0] == 2
    assert served == []
