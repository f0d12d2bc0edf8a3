"""Boot file, token, boot root, addresses: what is prepared before QEMU starts."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ectools.errors import EcError, InputError
from ectools.files import FileError, LockedError
from ectools.vm import boot_file
from ectools.vm.boot_file import hold_boot_file, read_token
from ectools.vm.boot_root import check_boot_root
from ectools.vm.load import load_guest_settings
from ectools.vm.macvtap import build_mark, derive_mac, find_mac

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.vm.settings import GuestSettings

URL = "http://10.0.2.2:8080/netboot.ipxe"


def token_settings(settings_of: Callable[..., GuestSettings], path: Path) -> GuestSettings:
    return settings_of({"boot": {"chainUrl": "http://a/x", "chainTokenFile": str(path)}})


@pytest.mark.parametrize("raw", [b"abc-_.~09", b"abc\n", b"YWJj/w==\r\n", b"x" * 512])
def test_a_token_is_read_without_its_newline(
    raw: bytes, tmp_path: Path, settings_of: Callable[..., GuestSettings]
) -> None:
    (tmp_path / "token").write_bytes(raw)
    assert read_token(token_settings(settings_of, tmp_path / "token").boot) == raw.decode().strip()


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"pa55 word", b"pa55&b", b"pa55+b", b"pa55%20", b"pa55\xc3\xa9", b"y" * 513]
)
def test_what_ipxe_cannot_send_is_no_token(
    raw: bytes, tmp_path: Path, settings_of: Callable[..., GuestSettings]
) -> None:
    (tmp_path / "token").write_bytes(raw)
    with pytest.raises(InputError) as caught:
        read_token(token_settings(settings_of, tmp_path / "token").boot)
    assert str(tmp_path / "token") in caught.value.message
    assert "pa55" not in caught.value.render()
    assert "boot.chainTokenFile" in caught.value.render()


def test_a_token_file_that_is_missing_is_named(
    tmp_path: Path, settings_of: Callable[..., GuestSettings]
) -> None:
    with pytest.raises(FileError, match="token: cannot be read: No such file"):
        read_token(token_settings(settings_of, tmp_path / "token").boot)
    assert read_token(settings_of().boot) is None


def test_a_boot_file_with_a_token_is_private_and_does_not_stay(
    tmp_path: Path, settings_of: Callable[..., GuestSettings]
) -> None:
    boot = settings_of({"stateDir": str(tmp_path)}).boot
    with hold_boot_file(boot, url=URL, token="s3cret") as path:
        assert path == tmp_path / "tftp/undionly.kpxe"
        assert "token=s3cret" in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
    with hold_boot_file(boot, url=URL, token=None) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.exists()


def test_two_guests_do_not_boot_from_one_file(
    tmp_path: Path, settings_of: Callable[..., GuestSettings]
) -> None:
    """Each would load the other's script, with its token, and lose its own at the other's end."""
    boot = settings_of({"stateDir": str(tmp_path)}).boot
    with hold_boot_file(boot, url=URL, token="s3cret") as path:
        with (
            pytest.raises(LockedError, match="the boot file "),
            hold_boot_file(boot, url="http://a/other", token="another"),
        ):
            raise AssertionError
        assert "token=s3cret" in path.read_text()


def test_a_given_boot_file_is_copied_over_an_older_one(
    tmp_path: Path, settings_of: Callable[..., GuestSettings]
) -> None:
    given = tmp_path / "ipxe"
    (tmp_path / "tftp").mkdir()
    (tmp_path / "tftp/undionly.kpxe").write_text("older")
    boot = settings_of({"stateDir": str(tmp_path), "boot": {"userNet": {"bootFile": str(given)}}}).boot
    with (
        pytest.raises(FileError, match=r"ipxe: cannot be (opened|read)"),
        hold_boot_file(boot, url=URL, token=None),
    ):
        pass
    given.write_bytes(b"")
    with pytest.raises(InputError, match="empty"), hold_boot_file(boot, url=URL, token=None):
        pass
    assert (tmp_path / "tftp/undionly.kpxe").read_text() == "older"
    given.write_bytes(b"\x7fipxe")
    with hold_boot_file(boot, url=URL, token=None) as path:
        assert path.read_bytes() == b"\x7fipxe"


def test_a_tftp_directory_that_cannot_be_made_is_named(
    tmp_path: Path, settings_of: Callable[..., GuestSettings]
) -> None:
    (tmp_path / "tftp").write_text("a file")
    boot = settings_of({"stateDir": str(tmp_path)}).boot
    with pytest.raises(EcError, match="tftp: cannot be made"), hold_boot_file(boot, url=URL, token=None):
        pass


def kernel(setup_sectors: int, paragraphs: int) -> bytes:
    """The header of a bzImage, and zeros up to the size that it gives."""
    image = bytearray((setup_sectors + 1) * 512 + paragraphs * 16)
    image[0x1F1] = setup_sectors
    image[0x1F4:0x1F8] = paragraphs.to_bytes(4, "little")
    image[0x202:0x206] = b"HdrS"
    return bytes(image)


@pytest.mark.parametrize(
    ("content", "usable"),
    [
        (kernel(4, 100), True),
        (kernel(4, 100) + b"signature", True),
        (kernel(4, 100)[:-8], True),  # the checksum's padding
        (kernel(4, 100)[:-16], False),
        (kernel(4, 100)[:600], False),
        (b"another kind of kernel", True),
        (b"", True),
    ],
)
def test_a_kernel_that_was_cut_off_is_seen(
    content: bytes, usable: bool, tmp_path: Path, settings_of: Callable[..., GuestSettings]
) -> None:
    (tmp_path / "netboot.ipxe").write_text("#!ipxe\n")
    (tmp_path / "kernel").write_bytes(content)
    boot = settings_of({"boot": {"http": {"root": str(tmp_path)}}}).boot
    if usable:
        check_boot_root(boot)
    else:
        with pytest.raises(InputError, match="kernel: cut off"):
            check_boot_root(boot)


@pytest.mark.parametrize(
    ("sectors", "there", "whole"),
    [
        # boot.rst: 0 means 4, for a bzImage of old.
        (0, 5 * 512 + 1600 - 16, 5 * 512 + 1600),
        (1, 2 * 512 + 1600 - 16, 2 * 512 + 1600),
        (31, 32 * 512 + 1600 - 16, 32 * 512 + 1600),
    ],
)
def test_a_kernels_size_is_its_headers(
    sectors: int, there: int, whole: int, tmp_path: Path, settings_of: Callable[..., GuestSettings]
) -> None:
    (tmp_path / "netboot.ipxe").write_text("#!ipxe\n")
    boot = settings_of({"boot": {"http": {"root": str(tmp_path)}}}).boot
    image = bytearray(kernel(40, 100)[:there])
    image[0x1F1] = sectors
    (tmp_path / "kernel").write_bytes(image)
    with pytest.raises(InputError) as caught:
        check_boot_root(boot)
    assert caught.value.message == (
        f"{tmp_path}/kernel: cut off: it has {there} bytes, and its header says {whole}"
    )
    (tmp_path / "kernel").write_bytes(image + b"x")
    check_boot_root(boot)


def test_a_kernel_of_more_than_a_mebibyte_has_all_bytes_of_its_size_read(
    tmp_path: Path, settings_of: Callable[..., GuestSettings]
) -> None:
    (tmp_path / "netboot.ipxe").write_text("#!ipxe\n")
    image = bytearray(kernel(4, 100))
    image[0x1F4:0x1F8] = (0x01020304).to_bytes(4, "little")
    (tmp_path / "kernel").write_bytes(image)
    with pytest.raises(InputError, match=f"its header says {5 * 512 + 16 * 0x01020304}$"):
        check_boot_root(settings_of({"boot": {"http": {"root": str(tmp_path)}}}).boot)


def test_a_root_that_is_none_is_named(
    tmp_path: Path, settings_of: Callable[..., GuestSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(name: str) -> None:
        check_boot_root(settings_of({"boot": {"http": {"root": str(tmp_path / name)}}}).boot)

    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name, what in (
        ("missing", "does not exist"),
        ("file", "is not a directory"),
        ("dangling", "is not a directory"),
        ("x" * 300, "cannot be looked at: File name too long"),
    ):
        with pytest.raises(InputError, match=f"{name}: {what}"):
            check(name)
    asked: list[int] = []
    monkeypatch.setattr(os, "access", lambda _, mode: asked.append(mode))
    (tmp_path / "root").mkdir()
    with pytest.raises(InputError, match="root: cannot be read by this user") as caught:
        check("root")
    assert asked == [os.R_OK | os.X_OK]
    assert f"let uid {os.geteuid()} read it" in str(caught.value.hint)
    check_boot_root(settings_of({"boot": {"http": {"enable": False}, "chainUrl": "http://a/x"}}).boot)


def test_a_boot_file_of_64_mebibytes_is_taken_and_a_larger_one_is_none(
    tmp_path: Path, settings_of: Callable[..., GuestSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []
    monkeypatch.setattr(boot_file, "read_regular", lambda _, limit: limits.append(limit) or b"x")
    boot = settings_of({"stateDir": str(tmp_path), "boot": {"userNet": {"bootFile": "/any"}}}).boot
    with hold_boot_file(boot, url=URL, token="s3cret") as path:
        assert path.read_bytes() == b"x"
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
        path.unlink()  # somebody else's doing, and no error at the end
    assert limits == [64 * 1024 * 1024]


def test_an_address_never_changes() -> None:
    """Its lease and whatever else a LAN knows it by would be lost."""
    mac = derive_mac(
        machine_id="0123456789abcdef0123456789abcdef", name="guest", state_dir=Path("/var/lib/guest")
    )
    assert mac == "8e:78:d3:01:1f:b3"


def test_a_root_needs_no_script_where_the_guest_goes_elsewhere(
    tmp_path: Path, settings_of: Callable[..., GuestSettings]
) -> None:
    http = {"root": str(tmp_path)}
    with pytest.raises(InputError, match=r"netboot\.ipxe: there is no such file"):
        check_boot_root(settings_of({"boot": {"http": http}}).boot)
    (tmp_path / "netboot.ipxe").symlink_to("x" * 300)
    with pytest.raises(InputError, match=r"netboot\.ipxe: cannot be looked at: File name too long"):
        check_boot_root(settings_of({"boot": {"http": http}}).boot)
    check_boot_root(settings_of({"boot": {"http": http, "chainUrl": "http://a/x"}}).boot)


def test_an_address_is_stable_local_and_one_guests(
    tmp_path: Path, settings_of: Callable[..., GuestSettings]
) -> None:
    def mac(machine_id: str = "m", name: str = "n", state: str = "s") -> str:
        return derive_mac(machine_id=machine_id, name=name, state_dir=tmp_path / state)

    assert mac() == mac()
    assert len({mac(), mac(machine_id="x"), mac(name="x"), mac(state="x")}) == 4
    for number in range(50):
        first = int(mac(name=str(number))[:2], 16)
        assert first & 0b11 == 0b10  # unicast, locally administered
    identity = tmp_path / "machine-id"

    def find(**macvtap: str) -> str | None:
        lan = {"enable": True, "macvtap": {"interface": "eth0", **macvtap}}
        settings = settings_of({"lan": lan})
        assert settings.lan is not None
        return find_mac(settings.lan.macvtap, settings, machine_id_file=identity)

    with pytest.raises(EcError, match="machine-id: cannot be read"):
        find()
    identity.write_text("0123456789abcdef0123456789abcdef\n")
    assert find() is not None
    assert find(macAddress="02:EC:00:00:00:01") == "02:ec:00:00:00:01"
    assert find(mode="passthru") is None


def test_a_mark_fits_into_an_alias(tmp_path: Path) -> None:
    assert build_mark(tmp_path / "disk.qcow2") == f"every-channel-ipxe-qemu:{tmp_path}/disk.qcow2"
    long = [build_mark(tmp_path / ("é" * 200) / name) for name in ("a", "b")]
    assert max(len(mark.encode()) for mark in long) < 256
    assert long[0] != long[1]


@pytest.mark.timeout(60)
def test_no_fifo_is_waited_for(tmp_path: Path, settings_of: Callable[..., GuestSettings]) -> None:
    """Opening one for reading waits until somebody writes, which nobody does."""
    fifo = tmp_path / "kernel"
    os.mkfifo(fifo)
    with pytest.raises(FileError, match="kernel: not a regular file"):
        read_token(token_settings(settings_of, fifo).boot)
    with pytest.raises(InputError, match="kernel: not a regular file"):
        load_guest_settings(fifo)
    (tmp_path / "netboot.ipxe").write_text("#!ipxe\n")
    # The script need not name it, and the server answers a request for it.
    check_boot_root(settings_of({"boot": {"http": {"root": str(tmp_path)}}}).boot)


@pytest.mark.timeout(60)
def test_a_file_without_end_is_not_read_to_it(
    settings_of: Callable[..., GuestSettings], tmp_path: Path
) -> None:
    huge = tmp_path / "huge"
    huge.touch()
    os.truncate(huge, 1 << 40)
    with pytest.raises(FileError, match="huge: is larger than"):
        read_token(token_settings(settings_of, huge).boot)
    with pytest.raises(InputError, match="huge: is larger than"):
        load_guest_settings(huge)
