"""``ectools netboot serve``: the settings a server is started with, and what is done without starting one."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools import log
from ectools.cli.netboot.serve import COMMAND
from ectools.errors import EcError
from ectools.netboot.server.run import Ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Program

    from ectools.netboot.settings.model import ServerSettings

READY = Ready(url="http://192.0.2.10:8080/", ip="192.0.2.10", port=8080, release=None)


class Starts:
    """The servers that were started: their settings, as they are read now, and where dnsmasq reports to."""

    def __init__(self) -> None:
        self.loads: list[Callable[[], ServerSettings]] = []
        self.reports: list[Path | None] = []
        self.sockets: list[Path | None] = []
        self.error: EcError | None = None

    def serve_boot(
        self,
        load: Callable[[], ServerSettings],
        *,
        on_ready: Callable[[Ready], None],
        dnsmasq_reports: Path | None,
        control_socket: Path | None,
    ) -> None:
        self.loads.append(load)
        self.reports.append(dnsmasq_reports)
        self.sockets.append(control_socket)
        if self.error is not None:
            raise self.error
        on_ready(READY)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    found = Starts()
    monkeypatch.setattr("ectools.netboot.server.run.serve_boot", found.serve_boot)
    return found


def write(path: Path, **options: Any) -> Path:
    path.write_text(json.dumps(options))
    return path


def test_each_flag_stands_before_the_file(program: Program, starts: Starts, tmp_path: Path) -> None:
    config = write(tmp_path / "n.json", listenIP="192.0.2.1", httpPort=81, hostname="file.example.org")
    flags = {
        "--config": config,
        "--state-dir": "/srv/state",
        "--listen-ip": "192.0.2.10",
        "--interface": "eth7",
        "--http-port": 8081,
        "--proxy-subnet": "192.0.2.0/24",
        "--dnsmasq-reports": "/run/reports",
        "--control-socket": "/run/control.sock",
    }
    assert program(COMMAND, *(word for pair in flags.items() for word in pair)) == (0, "", "")
    settings = starts.loads[0]()
    assert (str(settings.listen_ip), settings.interface, settings.http_port) == ("192.0.2.10", "eth7", 8081)
    assert (settings.hostname, settings.state_dir) == ("file.example.org", Path("/srv/state"))
    assert settings.proxy_dhcp is not None
    assert settings.proxy_dhcp.subnet == IPv4Network("192.0.2.0/24")
    assert starts.reports == [Path("/run/reports")]
    assert starts.sockets == [Path("/run/control.sock")]


def test_a_reload_reads_the_file_again(program: Program, starts: Starts, default_config: Path) -> None:
    write(default_config, listenIP="192.0.2.1", httpPort=81)
    assert program(COMMAND, "--hostname", "flag.example.org")[0] == 0
    (load,) = starts.loads
    assert load().http_port == 81
    write(default_config, listenIP="192.0.2.1", httpPort=82, hostname="file.example.org")
    assert (load().http_port, load().hostname) == (82, "flag.example.org")
    assert starts.reports == [None]


def test_that_it_is_ready_is_told_as_json_alone(program: Program, starts: Starts) -> None:
    assert program(COMMAND)[1] == ""
    status, out, _ = program(COMMAND, "--json")
    assert (status, json.loads(out)) == (
        0,
        {"url": "http://192.0.2.10:8080/", "ip": "192.0.2.10", "port": 8080, "release": None},
    )


def test_the_form_of_the_log_is_set_where_one_serves(
    program: Program, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms: list[bool] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            log, "set_up", lambda **options: forms.append(options["json_lines"]) if options else None
        )
        program(COMMAND, "--log-format", "text")
        program(COMMAND, "--log-format", "json", "--listen-ip", "192.0.2.1", "--check")
    # Text at the start of each, and what was asked for where one serves.
    assert forms == [False, False, False]
    assert len(starts.loads) == 1


def test_an_error_of_the_server_is_the_exit_status(program: Program, starts: Starts) -> None:
    starts.error = EcError("the port is taken", hint="stop the other")
    status, out, err = program(COMMAND, "--json")
    assert (status, out) == (1, "")
    assert "the port is taken" in err
    assert "stop the other" in err


def test_a_check_starts_nothing(program: Program, starts: Starts, default_config: Path) -> None:
    address = ("--listen-ip", "192.0.2.1", "--hostname", "192.0.2.1")
    assert program(COMMAND, "--check", *address) == (0, "", "the settings can be used\n")
    status, out, err = program(COMMAND, "--check", *address[:2])
    assert (status, out) == (0, "")
    assert err.startswith("warning: services.every-channel.netboot.hostname: is its default")
    write(default_config, listenIP="192.0.2.1", httpPort="many", colour="red")
    status, out, err = program(COMMAND, "--check")
    assert (status, out) == (2, "")
    # All that is wrong, at once, and where.
    assert str(default_config) in err
    assert "httpPort" in err
    assert "colour" in err
    assert starts.loads == []


def test_a_check_tells_of_machines_that_are_let_in_for_nothing(
    program: Program, starts: Starts, default_config: Path
) -> None:
    pc, arm = (f"/srv/ec-runner-{name}-netboot-boot-v1.tar.gz" for name in ("x86_64", "aarch64"))
    for tarball, warnings in (
        (pc, 1),
        ([pc], 1),
        ([pc, arm], 0),
        ([pc, "/srv/other.tar.gz"], 0),
        ("/srv/other.tar.gz", 0),
        (None, 0),
    ):
        ipxe = {"arm64File": "/srv/ipxe-arm64.efi"}
        write(default_config, listenIP="192.0.2.1", ipxe=ipxe, release={"tarball": tarball})
        status, _, err = program(COMMAND, "--check")
        assert (status, err.count("has nothing for the machines that ipxe.arm64File lets in")) == (
            0,
            warnings,
        )
    assert starts.loads == []


def test_without_an_address_nothing_can_be_served(program: Program, starts: Starts) -> None:
    status, out, err = program(COMMAND, "--check")
    assert (status, out) == (2, "")
    assert "listenIP" in err


def test_the_configuration_of_dnsmasq_as_it_would_be(
    program: Program, starts: Starts, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    arguments = ("--state-dir", state, "--listen-ip", "192.0.2.10", "--proxy-subnet", "192.0.2.0/24")
    status, out, err = program(COMMAND, *arguments, "--print-dnsmasq")
    assert (status, out) == (1, "")
    assert f"there is no boot binary in {state}/tftp, so there is nothing to offer" in err
    (state / "tftp").mkdir(parents=True)
    (state / "tftp" / "undionly.kpxe").touch()
    status, out, err = program(COMMAND, *arguments, "--print-dnsmasq")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert f'tftp-root="{state}/tftp"' in lines
    assert "listen-address=192.0.2.10" in lines
    # The proxy offers what is there to be offered, and nothing else.
    assert [line for line in lines if line.startswith("pxe-service=")] == [
        'pxe-service=tag:!ipxe,0,"every.channel",undionly.kpxe'
    ]
    assert starts.loads == []


def test_two_ways_not_to_serve_exclude_each_other(program: Program, starts: Starts) -> None:
    status, out, err = program(COMMAND, "--check", "--print-dnsmasq")
    assert (status, out) == (2, "")
    assert "--check and --print-dnsmasq exclude each other" in err
