"""What is signed of a system's boot: the lines that a node reads, and that packing with a key adds them."""

from __future__ import annotations

import base64
import hashlib
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.releases import release_files

from ectools.archive.file_record import FileRecord
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.boot_statement import STATEMENT_NAME, BootStatement
from ectools.netboot.release.manifest import BootEntry
from ectools.netboot.release.pack import SigningKey, pack
from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import find_public_key, verify_signature

BOOT = BootEntry(
    kernel="bzImage",
    arguments=(
        "init=/nix/store/e-nixos/init",
        "initrd=initrd",
        "every_channel.store=${cwuri}",
        "quiet",
        "${cmdline}",
    ),
    initrds=("initrd", "more.img"),
)
ROOT = f"/nix/store/{'a' * 32}-nixos-system-box-26.05"
STATEMENT = BootStatement(
    system="ec-runner-x86_64-netboot",
    architecture=KernelArchitecture.X86_64,
    tag="boot-v2026.03.02",
    counter=1772409600,
    boot=BOOT,
    files={
        name: FileRecord(size=size, sha256=f"{size}" * 64)
        for size, name in enumerate(("bzImage", "initrd", "more.img"), start=1)
    },
    installed=["", ROOT, "/nix/store/no", ROOT],
)


def test_its_lines() -> None:
    assert STATEMENT.find_fault() is None
    assert STATEMENT.render().decode() == (
        "every-channel-boot 1\n"
        "system ec-runner-x86_64-netboot\n"
        "architecture x86_64\n"
        "tag boot-v2026.03.02\n"
        "counter 1772409600\n"
        f"kernel {'1' * 64} 1 bzImage\n"
        f"initrd {'2' * 64} 2 initrd\n"
        f"initrd {'3' * 64} 3 more.img\n"
        "argument init=/nix/store/e-nixos/init\n"
        "argument quiet\n"
        f"installed {ROOT}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("quiet",), "init="),
        (("init=/a", "init=/b"), "init="),
        (("init=/a", "ip=${net0/ip}"), "ip=${net0/ip}"),
    ],
)
def test_what_no_node_can_be_told(arguments: tuple[str, ...], fault: str) -> None:
    other = replace(STATEMENT, boot=replace(BOOT, arguments=arguments))
    assert fault in (other.find_fault() or "")


@pytest.mark.parametrize("form", [SignatureFormat.MINISIGN, SignatureFormat.OPENSSH, SignatureFormat.OPENSSL])
def test_a_release_that_is_packed_with_a_key_has_it_signed(tmp_path: Path, form: SignatureFormat) -> None:
    key = SigningKey(format=form, file=make_key(tmp_path, form))
    files = release_files("one")
    packed = pack([write(tmp_path / "output", files)], tmp_path / "out", tag="boot-v2026.03.02", key=key)
    members = read(packed.archives[0].path)
    text = members[STATEMENT_NAME]
    assert f"kernel {hashlib.sha256(files['kernel']).hexdigest()} {len(files['kernel'])} kernel" in (
        text.decode().splitlines()
    )
    assert b"counter 1772409600\n" in text
    (signature,) = set(members) - set(files) - {STATEMENT_NAME}
    public = find_public_key(form, key.read())
    verify_signature(form, data=text, signature=members[signature], public_key=public)


def test_without_a_time_or_a_key_there_is_none(tmp_path: Path) -> None:
    key = SigningKey(format=SignatureFormat.OPENSSL, file=make_key(tmp_path, SignatureFormat.OPENSSL))
    output = write(tmp_path / "output", release_files("one"))
    for number, (tag, given) in enumerate((("boot-vX", key), ("boot-v2026.03.02", None))):
        packed = pack([output], tmp_path / f"out-{number}", tag=tag, key=given)
        assert STATEMENT_NAME not in read(packed.archives[0].path)


def make_key(directory: Path, form: SignatureFormat) -> Path:
    key = Ed25519PrivateKey.generate()
    path = directory / "key"
    if form is SignatureFormat.MINISIGN:
        raw = key.private_bytes_raw() + key.public_key().public_bytes_raw()
        text = base64.b64encode(b"Ed\0\0B2" + bytes(48) + b"8 bytes." + raw + bytes(32))
        path.write_bytes(b"untrusted comment: minisign key\n" + text + b"\n")
    else:
        kind = PrivateFormat.OpenSSH if form is SignatureFormat.OPENSSH else PrivateFormat.PKCS8
        path.write_bytes(key.private_bytes(Encoding.PEM, kind, NoEncryption()))
    return path


def write(directory: Path, files: dict[str, bytes]) -> Path:
    directory.mkdir()
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return directory


def read(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        found = {}
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
        return found
