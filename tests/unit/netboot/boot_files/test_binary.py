from __future__ import annotations

import hashlib
import http.server
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.boot_binaries import ARM64, IA32, UNDIONLY, build_ipxe, build_uefi_application

from ectools import log
from ectools.errors import EcError, InputError
from ectools.netboot.boot_files import binary
from ectools.netboot.boot_files.binary import (
    Autoexec,
    BinaryFacts,
    BootBinary,
    find_machine,
    inspect_binary,
)
from ectools.netboot.boot_files.choose import (
    BinaryError,
    choose_binaries,
    find_fault,
    find_stock,
)
from ectools.netboot.boot_files.layout import build_filenames
from ectools.netboot.protocols import Binary
from ectools.netboot.settings.load import load_netboot_settings
from ectools.netboot.settings.model import StockIpxe

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.settings.model import NetbootSettings


def settings_of(**ipxe: Any) -> NetbootSettings:
    return load_netboot_settings(
        None, flags={f"ipxe.{name}": value for name, value in ipxe.items()}, environment={}
    )


def stock_of(package: Path) -> NetbootSettings:
    """With stock binaries elsewhere than in the Nix store, where alone the schema lets them be."""
    settings = settings_of()
    return replace(settings, ipxe=replace(settings.ipxe, x86_64=StockIpxe(package=package)))


@pytest.mark.parametrize(
    ("autoexec", "expected"),
    [("none", Autoexec.NOWHERE), ("both", Autoexec.TFTP), ("ascii", Autoexec.TFTP_AND_HTTP)],
)
def test_the_facts_of_an_ipxe(autoexec: str, expected: Autoexec) -> None:
    facts = inspect_binary(build_ipxe("1.21.1+ (g1a2b)", autoexec=autoexec))
    assert (facts.machine, facts.version, facts.autoexec) == (0x8664, "1.21.1+ (g1a2b)", expected)
    assert facts.embedded is None
    assert facts.title == "iPXE 1.21.1+ (g1a2b)"


def test_a_script_inside_is_seen() -> None:
    body = b"iPXE\0#!ipxe\0#!ipxe\ndhcp\n\0more"
    assert inspect_binary(build_uefi_application(body=body)).embedded == b"#!ipxe\ndhcp\n"


@given(
    st.binary(max_size=300) | st.binary(max_size=40).map(lambda tail: build_uefi_application()[:200] + tail)
)
def test_any_bytes_have_facts(data: bytes) -> None:
    inspect_binary(data)
    for kind in Binary:
        find_fault(BootBinary(where="x", data=data), kind)


@given(st.integers(0, len(build_uefi_application())))
def test_a_file_that_was_cut_short_is_no_application_of_another_kind(length: int) -> None:
    assert find_machine(build_uefi_application()[:length]) in (None, 0x8664)


@pytest.mark.parametrize(
    ("data", "kind", "fault"),
    [
        (build_uefi_application(), Binary.X86_64, None),
        (build_uefi_application(ARM64), Binary.ARM64, None),
        (build_uefi_application(IA32), Binary.IA32, None),
        (UNDIONLY, Binary.BIOS, None),
        (b"", Binary.X86_64, "it is empty"),
        (UNDIONLY, Binary.X86_64, "it is no UEFI application"),
        (build_uefi_application(subsystem=11), Binary.X86_64, "it is no UEFI application"),
        (
            build_uefi_application(ARM64),
            Binary.X86_64,
            "it is a UEFI application for machine 0xaa64, not 0x8664",
        ),
        (build_uefi_application(), Binary.BIOS, "it is no PXE program"),
        (b"#!ipxe\nshell\n", Binary.BIOS, "it is no PXE program"),
        (b"\xea" + bytes(640 * 1024), Binary.BIOS, "it is larger than 655360 bytes"),
    ],
)
def test_what_can_be_which_binary(data: bytes, kind: Binary, fault: str | None) -> None:
    assert find_fault(BootBinary(where="x", data=data), kind) == fault


def test_the_stock_binary_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    (tmp_path / "ipxe.efi").write_bytes(build_ipxe("1.0.0+git-20190125", autoexec="none"))
    (tmp_path / "snponly.efi").write_bytes(build_ipxe("2.0.0"))
    chosen = choose_binaries(stock_of(tmp_path))
    assert chosen == {"ec-ipxe.efi": build_ipxe("2.0.0")}


def test_one_that_is_too_old_is_refused_with_its_version(tmp_path: Path) -> None:
    (tmp_path / "ipxe.efi").write_bytes(build_ipxe("1.0.0+git-20190125", autoexec="none"))
    (tmp_path / "snponly.efi").write_bytes(build_ipxe("2.0.0", machine=ARM64))
    (tmp_path / "snp.efi").write_bytes(build_uefi_application())
    with pytest.raises(BinaryError) as caught:
        choose_binaries(stock_of(tmp_path))
    old = "iPXE 1.0.0+git-20190125 does not look for autoexec.ipxe, and would load itself for ever"
    assert caught.value.message.splitlines()[1:] == [
        f"  {tmp_path}/ipxe.efi: {old}",
        f"  {tmp_path}/snponly.efi: it is a UEFI application for machine 0xaa64, not 0x8664",
        f"  {tmp_path}/snp.efi: is no iPXE",
    ]
    assert "ipxe.localFile" in (caught.value.hint or "")


def test_one_that_knows_tftp_alone_is_taken_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ipxe.efi").write_bytes(build_ipxe("1.21.1+git20230101", autoexec="both"))
    log.set_up()
    choose_binaries(stock_of(tmp_path))
    assert "over TFTP only" in capsys.readouterr().err


def test_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(BinaryError, match=f"no stock iPXE for x86-64 UEFI in {tmp_path}"):
        choose_binaries(stock_of(tmp_path))


def test_a_local_file_and_those_of_the_other_architectures(tmp_path: Path) -> None:
    files = {
        "localFile": build_ipxe(),
        "biosFile": UNDIONLY,
        "ia32File": build_ipxe(machine=IA32),
        "arm64File": build_ipxe(machine=ARM64),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    chosen = choose_binaries(settings_of(strategy="local", **{name: str(tmp_path / name) for name in files}))
    assert chosen == {
        "ec-ipxe.efi": files["localFile"],
        "undionly.kpxe": UNDIONLY,
        "ec-ipxe-ia32.efi": files["ia32File"],
        "ec-ipxe-arm64.efi": files["arm64File"],
    }
    with pytest.raises(InputError, match="cannot be the boot binary for arm64"):
        choose_binaries(
            settings_of(
                strategy="local", localFile=str(tmp_path / "localFile"), arm64File=str(tmp_path / "biosFile")
            )
        )


def test_a_name_cannot_be_given_twice(tmp_path: Path) -> None:
    for name, data in (("a", build_ipxe()), ("b", UNDIONLY)):
        (tmp_path / name).write_bytes(data)
    flags = {
        "ipxe.strategy": "local",
        "ipxe.localFile": str(tmp_path / "a"),
        "ipxe.biosFile": str(tmp_path / "b"),
        "tftpBootFilename": "undionly.kpxe",
    }
    with pytest.raises(InputError, match="tftpBootFilename"):
        choose_binaries(load_netboot_settings(None, flags=flags, environment={}))


class _Remote(http.server.BaseHTTPRequestHandler):
    content = b""
    asked = 0
    status = 200

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def remote() -> Any:
    class Handler(_Remote):
        pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Handler, f"http://127.0.0.1:{server.server_port}/ipxe.efi"
        server.shutdown()


def test_a_remote_binary_is_downloaded_once_and_is_the_pinned_one(remote: Any) -> None:
    handler, url = remote
    handler.content = build_ipxe()
    pin = hashlib.sha256(handler.content).hexdigest()
    settings = settings_of(strategy="remote", remoteUrl=url, remoteSha256=pin.upper())
    assert choose_binaries(settings, present=b"another one") == {"ec-ipxe.efi": handler.content}
    assert choose_binaries(settings, present=handler.content) == {"ec-ipxe.efi": handler.content}
    assert handler.asked == 1


def test_a_remote_binary_that_is_not_the_pinned_one_is_refused(remote: Any) -> None:
    handler, url = remote
    handler.content = build_ipxe()
    with pytest.raises(BinaryError, match=f"has the SHA-256 {hashlib.sha256(handler.content).hexdigest()}"):
        choose_binaries(settings_of(strategy="remote", remoteUrl=url, remoteSha256="0" * 64))


def test_a_remote_binary_that_is_not_there_names_its_own_option(remote: Any) -> None:
    handler, url = remote
    handler.status = 404
    with pytest.raises(BinaryError, match="not found") as caught:
        choose_binaries(settings_of(strategy="remote", remoteUrl=url, remoteSha256="0" * 64))
    assert caught.value.hint is not None
    assert "ipxe.remoteUrl" in caught.value.hint
    assert "release" not in caught.value.hint


def test_a_remote_url_that_cannot_be_downloaded_from(remote: Any) -> None:
    settings = settings_of(strategy="remote", remoteUrl="tftp://192.0.2.1/x", remoteSha256="0" * 64)
    with pytest.raises(EcError, match="only http and https"):
        choose_binaries(settings)


def test_a_binary_is_searched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a megabyte, and a boot host serves four."""
    searched: list[bytes] = []

    def inspect(data: bytes) -> BinaryFacts:
        searched.append(data)
        return inspect_binary(data)

    monkeypatch.setattr(binary, "inspect_binary", inspect)
    (tmp_path / "ipxe.efi").write_bytes(build_ipxe())
    (tmp_path / "bios").write_bytes(UNDIONLY)
    assert find_stock(tmp_path).facts.is_ipxe
    assert len(searched) == 1
    local = str(tmp_path / "ipxe.efi")
    choose_binaries(settings_of(strategy="local", localFile=local, biosFile=str(tmp_path / "bios")))
    # A BIOS program is compressed: there is nothing to be found in it.
    assert searched == [build_ipxe()] * 2


def test_the_names_of_the_other_binaries_are_fixed() -> None:
    settings = load_netboot_settings(None, flags={"tftpBootFilename": "a.efi"}, environment={})
    assert build_filenames(settings) == {
        Binary.BIOS: "undionly.kpxe",
        Binary.IA32: "ec-ipxe-ia32.efi",
        Binary.X86_64: "a.efi",
        Binary.ARM64: "ec-ipxe-arm64.efi",
    }
