"""Which boot binaries are served: where they are looked for, what is told of them, each limit."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.boot_binaries import ARM64, IA32, UNDIONLY, build_ipxe, build_uefi_application
from support.log_lines import LogLines

from ectools.errors import InputError
from ectools.fetch import client as fetch_client
from ectools.fetch.client import FetchError
from ectools.fetch.trust import Trust
from ectools.netboot.boot_files import choose
from ectools.netboot.boot_files.binary import Autoexec, BootBinary, find_machine, inspect_binary
from ectools.netboot.boot_files.choose import BinaryError, choose_binaries, find_fault, find_stock
from ectools.netboot.protocols import Binary, StockBinary
from ectools.netboot.settings.load import load_netboot_settings
from ectools.netboot.settings.model import NetbootSettings, RemoteIpxe

NEW, TFTP_ONLY, OLD = build_ipxe(), build_ipxe("1.21.1", autoexec="both"), build_ipxe("1.0", autoexec="none")


# What a binary is


@pytest.mark.parametrize(
    ("body", "version", "title"),
    [
        (b"iPXE\x001.0.0\0", "1.0.0", "iPXE 1.0.0"),
        (b"iPXE", None, "iPXE of an unknown version"),
        (b"iPXE\x001.0\0", None, "iPXE of an unknown version"),
        (b"iPXE\x001.0.0" + b"x" * 60 + b"\0", f"1.0.0{'x' * 60}", f"iPXE 1.0.0{'x' * 60}"),
        (b"iPXE\x001.0.0" + b"x" * 61 + b"\0", None, "iPXE of an unknown version"),
        (b"\x001.0.0\0", None, "no iPXE"),
        # SBAT comes before a number that merely stands somewhere.
        (b"\x009.9.9\0ipxe,1,iPXE,ipxe,2.0.0,https://ipxe.org\n", "2.0.0", "iPXE 2.0.0"),
    ],
)
def test_versions(body: bytes, version: str | None, title: str) -> None:
    facts = inspect_binary(build_uefi_application(body=body))
    assert (facts.version, facts.title) == (version, title)


@pytest.mark.parametrize(
    ("body", "embedded"),
    [
        (b"#!ipxe\ndhcp", True),
        (b"#!ipxe x", True),
        (b"#!ipxe\n\0", False),
        (b"#!ipxe", False),
        (b"#!ipxed\n", False),
    ],
)
def test_scripts_inside(body: bytes, embedded: bool) -> None:
    found = inspect_binary(body + b"\0#!ipxe\n\0").embedded
    assert found == (body if embedded else None)


def test_where_autoexec_is_fetched_from() -> None:
    wide = "autoexec.ipxe".encode("utf-16-le")
    assert inspect_binary(wide).autoexec is Autoexec.NOWHERE
    assert inspect_binary(b"autoexec.ipxe" + wide).autoexec is Autoexec.TFTP
    assert inspect_binary(b"autoexec.ipxe").autoexec is Autoexec.TFTP_AND_HTTP


def test_the_headers_of_an_application() -> None:
    whole = build_uefi_application()
    # The last that is read is the field Subsystem, at 24 + 68 behind the signature.
    end = 0x40 + 24 + 70
    assert find_machine(whole[:end]) == 0x8664
    assert find_machine(whole[: end - 1]) is None
    assert find_machine(b"ZM" + whole[2:]) is None
    assert find_machine(whole.replace(b"PE\0\0", b"NE\0\0")) is None
    assert find_machine(b"MZ" + bytes(0x3D)) is None
    assert [find_machine(build_uefi_application(subsystem=number)) for number in (9, 10, 11)] == [
        None,
        0x8664,
        None,
    ]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\xea", None),
        (b"\xe9", None),
        (b"\xeb", None),
        (b"\xec", "it is no PXE program"),
        (b"\xea".ljust(640 * 1024, b"\0"), None),
        (b"\xea".ljust(640 * 1024 + 1, b"\0"), "it is larger than 655360 bytes"),
        (b"\xec".ljust(640 * 1024 + 1, b"\0"), "it is no PXE program"),
        (b"", "it is empty"),
    ],
)
def test_programs_for_a_bios(data: bytes, fault: str | None) -> None:
    assert find_fault(BootBinary(where="x", data=data), Binary.BIOS) == fault


# Where stock binaries are


STOCK = [
    *("ipxe.efi", "ipxe-x86_64.efi", "ipxe-amd64.efi"),
    *("snponly.efi", "ipxe-snponly-x86_64.efi", "snponly-x86_64.efi", "snp.efi"),
]


@pytest.mark.parametrize("name", STOCK)
def test_each_name_of_the_project_and_of_distributions(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(NEW)
    found = find_stock(tmp_path)
    assert (found.where, found.data, found.facts) == (str(tmp_path / name), NEW, inspect_binary(NEW))


def test_the_first_name_is_taken(tmp_path: Path) -> None:
    for name in STOCK:
        (tmp_path / name).write_bytes(NEW)
        assert Path(find_stock(tmp_path).where).name == "ipxe.efi"
    for name, next_ in itertools.pairwise(STOCK):
        (tmp_path / name).unlink()
        assert Path(find_stock(tmp_path).where).name == next_


def test_one_without_drivers_is_none_with_drivers(tmp_path: Path) -> None:
    for name in ("ipxe.efi", "ipxe-amd64.efi"):
        (tmp_path / name).write_bytes(NEW)
    with pytest.raises(BinaryError) as caught:
        find_stock(tmp_path, StockBinary.SNPONLY)
    assert caught.value.message == (
        f"no stock iPXE without drivers (snponly.efi) for x86-64 UEFI in {tmp_path}"
    )
    (tmp_path / "snp.efi").write_bytes(NEW)
    assert find_stock(tmp_path, StockBinary.SNPONLY).where == f"{tmp_path}/snp.efi"
    (tmp_path / "snponly.efi").write_bytes(NEW)
    assert find_stock(tmp_path, StockBinary.SNPONLY).where == f"{tmp_path}/snponly.efi"
    assert find_stock(tmp_path).where == f"{tmp_path}/ipxe.efi"


def test_one_without_drivers_goes_first_for_other_architectures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "_STOCK_DIRECTORIES", (tmp_path,))
    (tmp_path / "arm64-efi").mkdir()
    binary = build_ipxe(machine=ARM64)
    (tmp_path / "ipxe-arm64.efi").write_bytes(binary)
    for names, stock, expected in (
        ((), StockBinary.SNPONLY, "ipxe-arm64.efi"),
        (("arm64-efi/snponly.efi",), StockBinary.SNPONLY, "arm64-efi/snponly.efi"),
        ((), StockBinary.IPXE, "ipxe-arm64.efi"),
    ):
        for name in names:
            (tmp_path / name).write_bytes(binary)
        found = choose.find_stock_of(Binary.ARM64, stock)
        assert found is not None
        assert found.where == f"{tmp_path}/{expected}"


def test_distributions_are_looked_through_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [str(each) for each in choose._STOCK_DIRECTORIES] == [
        "/usr/lib/ipxe",
        "/usr/share/ipxe",
        "/usr/share/ipxe/x86_64",
    ]
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setattr(choose, "_STOCK_DIRECTORIES", (first, second))
    with pytest.raises(BinaryError) as caught:
        find_stock(None)
    assert caught.value.message == f"no stock iPXE for x86-64 UEFI in {first}, {second}"
    assert (caught.value.hint or "").startswith("install one; take one of 2024 or later")
    second.mkdir()
    (second / "ipxe.efi").write_bytes(NEW)
    assert Path(find_stock(None).where).parent == second
    first.mkdir()
    (first / "snp.efi").write_bytes(NEW)
    assert Path(find_stock(None).where).parent == first


def test_what_will_not_do_is_passed_over_without_a_word(tmp_path: Path, log_lines: LogLines) -> None:
    (tmp_path / "ipxe.efi").write_bytes(OLD)
    (tmp_path / "ipxe-x86_64.efi").mkdir()
    (tmp_path / "snponly.efi").write_bytes(NEW)
    assert find_stock(tmp_path).where == f"{tmp_path}/snponly.efi"
    assert log_lines.all() == []


def test_one_for_tftp_alone_is_taken_and_told(tmp_path: Path, log_lines: LogLines) -> None:
    (tmp_path / "ipxe.efi").write_bytes(TFTP_ONLY)
    find_stock(tmp_path)
    (entry,) = log_lines.all()
    assert (entry["level"], entry["file"], entry["version"]) == (
        "warning",
        f"{tmp_path}/ipxe.efi",
        "1.21.1",
    )
    assert "ipxe.localFile" in entry["hint"]


# The other architectures, where nothing names a binary


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with an iPXE for x86-64 alone."""
    monkeypatch.setattr(choose, "_STOCK_DIRECTORIES", (tmp_path,))
    (tmp_path / "ipxe.efi").write_bytes(NEW)
    return tmp_path


def names_chosen(**ipxe: Any) -> set[str]:
    return {*choose_binaries(settings_of(**ipxe))} - {"ec-ipxe.efi"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, set()),
        ({"undionly.kpxe": UNDIONLY}, {"undionly.kpxe"}),
        ({"x86_64/undionly.kpxe": UNDIONLY}, {"undionly.kpxe"}),
        ({"ipxe-arm64.efi": build_ipxe(machine=ARM64)}, {"ec-ipxe-arm64.efi"}),
        ({"arm64-efi/ipxe.efi": build_ipxe(machine=ARM64)}, {"ec-ipxe-arm64.efi"}),
        ({"ipxe-arm64.efi": build_ipxe(machine=ARM64, autoexec="none")}, set()),
        (
            {"ipxe-arm64.efi": b"x", "arm64-efi/snponly.efi": build_ipxe(machine=ARM64)},
            {"ec-ipxe-arm64.efi"},
        ),
        ({"undionly.kpxe": b"#!ipxe"}, set()),
    ],
)
def test_the_distributions_are_offered_where_they_will_do(
    installed: Path, files: dict[str, bytes], expected: set[str]
) -> None:
    for name, data in files.items():
        (installed / name).parent.mkdir(exist_ok=True)
        (installed / name).write_bytes(data)
    assert names_chosen() == expected


def test_they_are_looked_for_only_where_nothing_is_named(installed: Path, tmp_path: Path) -> None:
    for name, data in (("undionly.kpxe", UNDIONLY), ("ipxe-arm64.efi", build_ipxe(machine=ARM64))):
        (installed / name).write_bytes(data)
    own = tmp_path / "own.kpxe"
    own.write_bytes(UNDIONLY + b"own")
    assert choose_binaries(settings_of(biosFile=str(own)))["undionly.kpxe"].endswith(b"own")
    (installed / "x.efi").write_bytes(NEW)
    assert names_chosen(strategy="local", localFile=str(installed / "x.efi")) == set()
    # What the options say: a package of NixOS, and null for BIOS.
    for ipxe, looked_for in (
        ({}, {Binary.BIOS, Binary.ARM64}),
        ({"biosFile": None}, {Binary.ARM64}),
        ({"arm64File": str(own)}, {Binary.BIOS}),
        ({"package": f"/nix/store/{'a' * 32}-ipxe"}, set()),
    ):
        file = tmp_path / "s.json"
        file.write_text(json.dumps({"ipxe": ipxe}))
        assert load_netboot_settings(file, environment={}).ipxe.looked_for == looked_for
    assert choose.find_stock_of(Binary.BIOS) is not None


# A file of one's own


def settings_of(**ipxe: Any) -> NetbootSettings:
    return load_netboot_settings(
        None, flags={f"ipxe.{name}": value for name, value in ipxe.items()}, environment={}
    )


PROXY = {"proxyDhcp.enable": True, "proxyDhcp.subnet": "192.0.2.0/24"}
# Option → a binary for it that looks for no script, and its like that has one.
UNLED = {
    "localFile": (OLD, NEW),
    "ia32File": (build_ipxe(machine=IA32, autoexec="none"), build_ipxe(machine=IA32)),
    "arm64File": (build_ipxe(machine=ARM64, autoexec="none"), build_ipxe(machine=ARM64)),
}


def local_of(directory: Path, more: dict[str, Any] | None = None, **files: bytes) -> NetbootSettings:
    """The strategy local, with these files."""
    options: dict[str, Any] = {"ipxe.strategy": "local", **(more or {})}
    for option, data in {"localFile": NEW, **files}.items():
        (directory / option).write_bytes(data)
        options[f"ipxe.{option}"] = str(directory / option)
    return load_netboot_settings(None, flags=options, environment={})


@pytest.mark.parametrize(
    "data",
    [
        NEW,
        TFTP_ONLY,
        build_uefi_application(body=b"iPXE\0#!ipxe\ndhcp\0"),
        build_uefi_application(body=b"GRUB"),
    ],
)
def test_one_that_has_or_finds_a_script_or_is_no_ipxe_is_served(
    tmp_path: Path, log_lines: LogLines, data: bytes
) -> None:
    assert choose_binaries(local_of(tmp_path, localFile=data)) == {"ec-ipxe.efi": data}
    assert log_lines.all() == []


@pytest.mark.parametrize("option", UNLED)
def test_one_that_would_load_itself_for_ever_is_refused(tmp_path: Path, option: str) -> None:
    old, new = UNLED[option]
    assert new in choose_binaries(local_of(tmp_path, **{option: new})).values()
    with pytest.raises(InputError) as caught:
        choose_binaries(local_of(tmp_path, **{option: old}))
    assert caught.value.message.startswith(f"{tmp_path}/{option}: iPXE ")
    assert "has no script inside, does not look for autoexec.ipxe" in caught.value.message
    assert "--force or services.every-channel.netboot.ipxe.force = true" in (caught.value.hint or "")


@pytest.mark.parametrize("option", UNLED)
@pytest.mark.parametrize("more", [{"ipxe.force": True}, PROXY], ids=["force", "ProxyDHCP"])
def test_where_dhcp_may_tell_it_the_script_it_is_served_with_a_warning(
    tmp_path: Path, log_lines: LogLines, option: str, more: dict[str, Any]
) -> None:
    old, _ = UNLED[option]
    assert old in choose_binaries(local_of(tmp_path, more, **{option: old})).values()
    assert [(entry["level"], entry["file"]) for entry in log_lines.all()] == [
        ("warning", f"{tmp_path}/{option}")
    ]


@pytest.mark.parametrize(
    ("binary", "option", "hint"),
    [
        (Binary.BIOS, "biosFile", "undionly.kpxe"),
        (Binary.IA32, "ia32File", "bin-i386-efi"),
        (Binary.ARM64, "arm64File", "bin-arm64-efi"),
        (Binary.X86_64, "localFile", "bin-x86_64-efi"),
    ],
)
def test_a_file_of_another_kind_is_told_with_one_that_would_do(
    tmp_path: Path, binary: Binary, option: str, hint: str
) -> None:
    (tmp_path / "good").write_bytes(NEW)
    (tmp_path / "bad").write_bytes(b"text")
    files = {"localFile": str(tmp_path / "good"), option: str(tmp_path / "bad")}
    with pytest.raises(InputError, match=f"{tmp_path}/bad: cannot be the boot binary for {binary}") as caught:
        choose_binaries(settings_of(strategy="local", **files))
    assert hint in (caught.value.hint or "")


def test_nothing_is_known_of_a_program_for_a_bios(tmp_path: Path, log_lines: LogLines) -> None:
    choose_binaries(local_of(tmp_path, biosFile=UNDIONLY + b"iPXE"))
    assert log_lines.all() == []


# A download


class Web:
    """What is at a URL, and how often it is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, data: bytes | FetchError) -> None:
        self.data = data
        self.asked: list[tuple[str, int]] = []
        self.trust: Trust | None = None
        web = self

        class Client:
            def __init__(self, url: str, *, retry: object, trust: Trust) -> None:
                self._url = url
                web.trust = trust

            def read(self, url: str, *, limit: int, what: str) -> bytes:
                assert (url, what) == (self._url, "the boot binary")
                web.asked.append((url, limit))
                if isinstance(web.data, FetchError):
                    raise web.data
                return web.data

        monkeypatch.setattr(fetch_client, "HttpClient", Client)


URL = "https://boot.example.org/ipxe.efi"


def remote_of(data: bytes, url: str = URL) -> NetbootSettings:
    settings = settings_of()
    remote = RemoteIpxe(url=url, sha256=hashlib.sha256(data).hexdigest())
    return replace(settings, ipxe=replace(settings.ipxe, x86_64=remote))


def test_a_download_is_the_pinned_one(monkeypatch: pytest.MonkeyPatch, log_lines: LogLines) -> None:
    web = Web(monkeypatch, NEW)
    assert choose_binaries(remote_of(NEW)) == {"ec-ipxe.efi": NEW}
    assert web.asked == [(URL, 64 * 1024**2)]
    assert choose_binaries(remote_of(NEW), present=NEW) == {"ec-ipxe.efi": NEW}
    assert len(web.asked) == 1
    choose_binaries(remote_of(NEW), present=OLD)
    assert len(web.asked) == 2
    assert log_lines.all() == []


def test_a_private_ca_is_trusted_for_a_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    web = Web(monkeypatch, NEW)
    choose_binaries(remote_of(NEW))
    assert web.trust is not None
    assert web.trust.context is None
    assert "ipxe.remoteCaFile names a private CA's" in web.trust.hint
    (tmp_path / "ca.pem").write_text("no certificate")
    settings = remote_of(NEW)
    assert isinstance(settings.ipxe.x86_64, RemoteIpxe)
    remote = replace(settings.ipxe.x86_64, ca_file=tmp_path / "ca.pem")
    with pytest.raises(InputError, match=r"ipxe\.remoteCaFile: .*ca\.pem: holds no certificate"):
        choose_binaries(replace(settings, ipxe=replace(settings.ipxe, x86_64=remote)))


def test_a_download_that_would_load_itself_for_ever_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that was served before."""
    Web(monkeypatch, OLD)
    for present in (None, OLD):
        with pytest.raises(InputError, match=f"{URL}: iPXE of an unknown version has no script inside"):
            choose_binaries(remote_of(OLD), present=present)


def test_another_download_than_the_pinned_one(monkeypatch: pytest.MonkeyPatch) -> None:
    Web(monkeypatch, OLD)
    with pytest.raises(BinaryError) as caught:
        choose_binaries(remote_of(NEW))
    assert hashlib.sha256(OLD).hexdigest() in caught.value.message
    assert caught.value.message.endswith(f"ipxe.remoteSha256 is {hashlib.sha256(NEW).hexdigest()}")
    assert "look at it before you pin it" in (caught.value.hint or "")


def test_a_download_for_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    other = build_ipxe(machine=ARM64)
    Web(monkeypatch, other)
    with pytest.raises(InputError, match=f"{URL}: cannot be the boot binary for x86_64"):
        choose_binaries(remote_of(other))


@pytest.mark.parametrize("url", ["ftp://a/b", "tftp://a/b", "file:///a"])
def test_what_cannot_be_downloaded_from(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    web = Web(monkeypatch, NEW)
    with pytest.raises(InputError, match=f"ipxe.remoteUrl: {url}: only http and https"):
        choose_binaries(remote_of(NEW, url))
    assert web.asked == []
    # What is there already need not be.
    assert choose_binaries(remote_of(NEW, url), present=NEW) == {"ec-ipxe.efi": NEW}


@pytest.mark.parametrize("url", ["http://a/b", URL])
def test_schemes_that_can_be_downloaded_from(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    web = Web(monkeypatch, NEW)
    choose_binaries(remote_of(NEW, url))
    assert web.asked[0][0] == url


@pytest.mark.parametrize(
    ("status", "hint", "ours"),
    [
        (404, None, True),
        (404, "another host", False),
        (None, "no network", False),
    ],
)
def test_a_download_that_fails(
    monkeypatch: pytest.MonkeyPatch, status: int | None, hint: str | None, ours: bool
) -> None:
    """A hint is passed on; without one the option is named."""
    Web(monkeypatch, FetchError("it failed", status=status, hint=hint))
    with pytest.raises(BinaryError, match=r"^it failed$") as caught:
        choose_binaries(remote_of(NEW))
    assert ("ipxe.remoteUrl" in (caught.value.hint or "")) is ours
    assert ours or caught.value.hint == hint
