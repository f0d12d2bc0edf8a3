"""What dnsmasq is started with: the model, how many transfers fit, and what is checked before."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.log_lines import LogLines

from ectools.errors import EcError
from ectools.files import FileError
from ectools.netboot.dnsmasq import check, plan
from ectools.netboot.dnsmasq.check import (
    build_environment,
    check_services,
    find_dnsmasq,
    find_faults,
    list_boot_files,
)
from ectools.netboot.dnsmasq.model import (
    BootServices,
    BootServicesError,
    build_boot_services,
    build_filenames,
)
from ectools.netboot.dnsmasq.plan import build_plan, fit_transfers
from ectools.netboot.dnsmasq.render import render_configuration
from ectools.netboot.protocols import Binary
from ectools.netboot.settings.load import load_server_settings
from ectools.netboot.settings.model import ServerSettings
from ectools.processes import Completed, ProcessError, ProgramMissingError

INFINITE = -1


def settings_of(directory: Path, **options: Any) -> ServerSettings:
    flags = {
        "listenIP": "192.0.2.10",
        "stateDir": str(directory),
        "tftp.maxTransfers": 100,
        **{name.replace("__", "."): value for name, value in options.items()},
    }
    return load_server_settings(None, flags=flags, environment={})


# How many transfers fit


class Limits:
    """RLIMIT_NOFILE of this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
        self.set: list[tuple[int, int]] = []
        self.resource = SimpleNamespace(
            RLIMIT_NOFILE="files",
            RLIM_INFINITY=INFINITE,
            getrlimit=lambda what: (soft, hard) if what == "files" else None,
            setrlimit=lambda what, limits: self.set.append(limits) if what == "files" else None,
        )
        monkeypatch.setattr(plan, "resource", self.resource)


@pytest.mark.parametrize(
    ("soft", "hard", "fitting", "raised"),
    [
        (1024, 4096, 100, None),
        (228, 4096, 100, None),
        (227, 4096, 100, (228, 4096)),
        (64, 228, 100, (228, 228)),
        (64, 227, 99, (227, 227)),
        (64, INFINITE, 100, (228, INFINITE)),
        (INFINITE, INFINITE, 100, None),
        (64, 129, 1, (129, 129)),
        (64, 128, 1, (128, 128)),
        (64, 100, 1, (100, 100)),
    ],
)
def test_as_many_transfers_as_there_are_files(
    monkeypatch: pytest.MonkeyPatch,
    log_lines: LogLines,
    soft: int,
    hard: int,
    fitting: int,
    raised: tuple[int, int] | None,
) -> None:
    limits = Limits(monkeypatch, soft, hard)
    assert fit_transfers(100) == fitting
    assert limits.set == ([] if raised is None else [raised])
    if fitting == 100:
        assert log_lines.all() == []
    else:
        (entry,) = log_lines.all()
        assert (entry["level"], entry["wanted"], entry["transfers"]) == ("warning", 100, fitting)
        assert "ulimit -n 228" in entry["hint"]


# The plan


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[tuple[BootServices, str, str]]:
    """With dnsmasq installed, which takes anything; what it was asked to check."""
    checked: list[tuple[BootServices, str, str]] = []

    def take(services: BootServices, configuration: str, *, program: str) -> None:
        checked.append((services, configuration, program))

    monkeypatch.setattr(plan, "find_dnsmasq", lambda: "/usr/sbin/dnsmasq")
    monkeypatch.setattr(plan, "check_services", take)
    monkeypatch.setattr(plan, "fit_transfers", lambda wanted: wanted - 1)
    return checked


def test_a_plan_is_what_was_checked(
    machine: list[tuple[BootServices, str, str]], tmp_path: Path, log_lines: LogLines
) -> None:
    settings = settings_of(tmp_path)
    settings.tftp_dir.mkdir()
    for name in ("ec-ipxe.efi", "autoexec.ipxe"):
        (settings.tftp_dir / name).write_bytes(b"x")
    made = build_plan(settings)
    assert made.program == "/usr/sbin/dnsmasq"
    assert made.services.max_transfers == 99
    assert "tftp-max=99\n" in made.configuration
    assert made.configuration == render_configuration(made.services)
    assert made.directories == (tmp_path, tmp_path / "tftp")
    assert machine == [(made.services, made.configuration, made.program)]
    assert {offer.filename for offer in made.services.offers} == {"ec-ipxe.efi"}
    assert log_lines.all() == []


@pytest.mark.usefixtures("machine")
def test_boot_files_that_are_missing_are_told(tmp_path: Path, log_lines: LogLines) -> None:
    build_plan(settings_of(tmp_path, tftpBootFilename="boot.efi"))
    assert [(entry["level"], entry["file"]) for entry in log_lines.all()] == [
        ("warning", f"{tmp_path}/tftp/autoexec.ipxe"),
        ("warning", f"{tmp_path}/tftp/boot.efi"),
    ]
    assert "ectools netboot ipxe" in log_lines.all()[0]["hint"]


@pytest.mark.usefixtures("machine")
def test_a_file_of_a_chain_that_is_missing_is_told(tmp_path: Path, log_lines: LogLines) -> None:
    extra = {"sb/grubx64.efi": "/g", "sb/mmx64.efi": "/m"}
    settings = settings_of(tmp_path, tftpBootFilename="sb/shimx64.efi", ipxe__extraFiles=extra)
    (settings.tftp_dir / "sb").mkdir(parents=True)
    for name in ("autoexec.ipxe", "sb/shimx64.efi", "sb/mmx64.efi"):
        (settings.tftp_dir / name).write_bytes(b"x")
    made = build_plan(settings)
    # Who may write into one of them chooses what is served from it.
    assert made.directories == (tmp_path, tmp_path / "tftp", tmp_path / "tftp/sb")
    missing = ["sb/autoexec.ipxe", "sb/grubx64.efi"]
    assert [entry["file"] for entry in log_lines.all()] == [f"{tmp_path}/tftp/{name}" for name in missing]


# The model


def test_the_services_are_the_settings(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, proxyDhcp__subnet="192.0.2.0/24", httpPort=81)
    services = build_boot_services(settings, present=frozenset({"ec-ipxe.efi", "other"}))
    assert str(services.listen_ip) == "192.0.2.10"
    assert (services.tftp_dir, services.max_transfers) == (tmp_path / "tftp", 100)
    assert [(offer.architecture.number, offer.filename) for offer in services.offers] == [
        (7, "ec-ipxe.efi"),
        (9, "ec-ipxe.efi"),
        (16, "ec-ipxe.efi"),
    ]
    assert services.proxy is not None
    assert [str(each) for each in services.proxy.networks] == ["192.0.2.0/24"]
    assert services.proxy.base_url == "http://192.0.2.10:81"
    assert services.proxy.script_url == f"{services.proxy.base_url}/autoexec.ipxe"
    bare = build_boot_services(settings_of(tmp_path), present=frozenset())
    assert (bare.proxy, bare.offers) == (None, ())


def test_the_names_in_the_directory(tmp_path: Path) -> None:
    assert build_filenames(settings_of(tmp_path, tftpBootFilename="boot.efi")) == {
        Binary.BIOS: "undionly.kpxe",
        Binary.IA32: "ec-ipxe-ia32.efi",
        Binary.X86_64: "boot.efi",
        Binary.ARM64: "ec-ipxe-arm64.efi",
    }


# The checks


def services_of(directory: Path, *names: str, proxy: bool = False) -> BootServices:
    directory.mkdir(exist_ok=True)
    options = {"proxyDhcp__subnet": "192.0.2.0/24"} if proxy else {}
    settings = settings_of(directory.parent, **options)
    assert settings.tftp_dir == directory
    return build_boot_services(settings, present=frozenset(names))


def test_dnsmasq_is_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ProgramMissingError) as caught:
        find_dnsmasq()
    assert "dnsmasq-base" in (caught.value.hint or "")


def test_dnsmasqs_messages_are_not_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/a:/b")
    monkeypatch.setenv("LANG", "de_DE")
    assert build_environment() == {"PATH": "/a:/b", "LC_ALL": "C"}
    monkeypatch.delenv("PATH")
    assert build_environment() == {"PATH": "", "LC_ALL": "C"}


def test_a_directory_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(FileError, match=f"{file}: cannot be read: Not a directory"):
        list_boot_files(file)


def test_an_autoexec_is_needed_where_the_proxy_names_it_or_it_is_there(tmp_path: Path) -> None:
    directory = tmp_path / "tftp"
    plain = services_of(directory, "ec-ipxe.efi")
    proxied = services_of(directory, "ec-ipxe.efi", proxy=True)
    (directory / "ec-ipxe.efi").write_bytes(b"x")
    missing = f"{directory}/autoexec.ipxe is not there"
    assert (find_faults(plain), find_faults(proxied)) == ([], [missing])
    (directory / "autoexec.ipxe").symlink_to("nothing")
    assert (find_faults(plain), find_faults(proxied)) == ([missing], [missing])
    (directory / "autoexec.ipxe").unlink()
    (directory / "autoexec.ipxe").write_bytes(b"#!ipxe\n")
    assert (find_faults(plain), find_faults(proxied)) == ([], [])


def test_a_file_that_this_user_cannot_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    services = services_of(tmp_path / "tftp", "ec-ipxe.efi")
    (tmp_path / "tftp/ec-ipxe.efi").write_bytes(b"x")

    def access(path: Path, mode: int) -> bool:
        assert mode == os.R_OK
        return path.name != "ec-ipxe.efi"

    monkeypatch.setattr(check.os, "access", access)
    assert find_faults(services) == [f"{tmp_path}/tftp/ec-ipxe.efi cannot be read by this user"]


def test_dnsmasq_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    services = services_of(tmp_path / "tftp")
    asked: list[Any] = []

    def run(argv: list[str], **options: Any) -> Completed:
        asked.append((argv, options["stdin"], options["env"]))
        return Completed("", "dnsmasq: syntax check OK.\n")

    monkeypatch.setattr(check, "run", run)
    check_services(services, "port=0\n", program="/usr/sbin/dnsmasq")
    assert asked == [(["/usr/sbin/dnsmasq", "--test", "--conf-file=-"], "port=0\n", build_environment())]


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [(" dnsmasq: bad option at line 3\n", "dnsmasq: bad option at line 3"), ("", "exit status 1")],
)
def test_a_configuration_that_dnsmasq_rejects(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stderr: str, reason: str
) -> None:
    def run(argv: list[str], **_: Any) -> Completed:
        raise ProcessError("exit status 1", argv=argv, stderr=stderr)

    monkeypatch.setattr(check, "run", run)
    with pytest.raises(EcError) as caught:
        check_services(services_of(tmp_path / "tftp"), "", program="dnsmasq")
    assert caught.value.message == f"dnsmasq refuses the configuration that was made for it: {reason}"
    assert "--print-dnsmasq" in (caught.value.hint or "")


def test_dnsmasq_is_not_asked_where_something_is_wrong_already(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(check, "run", lambda *_a, **_k: pytest.fail("it was asked"))
    with pytest.raises(BootServicesError, match=re.escape("ec-ipxe.efi is not there")) as caught:
        check_services(services_of(tmp_path / "tftp", "ec-ipxe.efi"), "", program="dnsmasq")
    assert "ectools netboot ipxe" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a.efi", True),
        ("A_b-c.d.e", True),
        ("a", False),
        (".efi", False),
        ("a.", False),
        ("a b.efi", False),
        ("a,b.efi", False),
        ("-a.efi", False),
        ("é.efi", False),
    ],
)
def test_names_that_dnsmasq_can_offer(name: str, good: bool) -> None:
    assert (check._FILENAME.fullmatch(name) is not None) is good


# Its version


def install(directory: Path, said: str) -> str:
    program = directory / "dnsmasq"
    program.write_text(f"#!/bin/sh\n{said}\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("echo 'Dnsmasq version 2.90  Copyright (c) 2000-2024 Simon Kelley'", "2.90"),
        ("echo 'Dnsmasq version 2.92test3  Copyright (c)'", "2.92test3"),
        ("echo other", None),
        ("exit 3", None),
    ],
)
def test_the_version_that_it_says(tmp_path: Path, said: str, version: str | None) -> None:
    assert check.read_dnsmasq_version(install(tmp_path, said)) == version


@pytest.mark.parametrize(("version", "is_refused"), [("2.91", False), ("2.92", True), ("2.93", False)])
def test_one_whose_proxy_dhcp_is_wrong_is_refused_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, is_refused: bool
) -> None:
    program = install(tmp_path, f"echo 'Dnsmasq version {version}  Copyright'")
    monkeypatch.setattr(plan, "find_dnsmasq", lambda: program)
    directory = tmp_path / "tftp"
    directory.mkdir()
    for name in ("ec-ipxe.efi", "autoexec.ipxe"):
        (directory / name).touch()
    build_plan(settings_of(tmp_path))
    proxied = settings_of(tmp_path, proxyDhcp__subnet="192.0.2.0/24")
    if not is_refused:
        build_plan(proxied)
        return
    with pytest.raises(
        EcError, match=r"2\.92 sends the answers of UDP port 4011 to the wrong port"
    ) as caught:
        build_plan(proxied)
    assert caught.value.message.startswith(program)
    assert "2.93" in (caught.value.hint or "")
