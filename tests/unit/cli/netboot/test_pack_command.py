"""``ectools netboot pack``: what is written is what is printed; the signature is of a key given for it."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from support.kernels import system_files
from support.releases import release_files

from ectools.cli.netboot.pack import COMMAND
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.checksums import parse_release_times
from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import verify_signature

if TYPE_CHECKING:
    from conftest import Program

TAG = "boot-v2026.03.02"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "tree"
    directory.mkdir()
    for name, data in release_files().items():
        (directory / name).write_bytes(data)
    return directory


def test_archive_and_sums_are_named(program: Program, tree: Path, owners: list[Path]) -> None:
    out_dir = tree.parent / "out"
    status, out, _ = program(COMMAND, tree, "--tag", TAG, "-o", out_dir)
    archive = out_dir / f"ec-runner-x86_64-netboot-{TAG}.tar.gz"
    assert (status, out) == (0, f"{archive}\n{out_dir}/SHA256SUMS.txt\n")
    digest = sha256(archive.read_bytes()).hexdigest()
    assert f"{digest}  {archive.name}" in (out_dir / "SHA256SUMS.txt").read_text()
    assert owners == [out_dir]


def test_system_form_and_time_as_json(program: Program, tree: Path, owners: list[Path]) -> None:
    out_dir = tree.parent / "out"
    words = ("--system", "aarch64", "--format", "xz", "--timestamp", 1_700_000_000, "--json")
    status, out, _ = program(COMMAND, tree, "--tag", TAG, "-o", out_dir, *words)
    archive, sums = out_dir / f"ec-runner-aarch64-netboot-{TAG}.tar.xz", out_dir / "SHA256SUMS.txt"
    one = {"archive": str(archive), "sha256": sha256(archive.read_bytes()).hexdigest()}
    assert (status, json.loads(out)) == (
        0,
        {**one, "sums": str(sums), "signature": None, "archives": [{**one, "system": "aarch64"}]},
    )
    assert parse_release_times(sums.read_bytes(), where="SUMS") == {archive.name: 1_700_000_000}
    assert owners == [out_dir]


def test_several_outputs_are_named_by_their_kernels(program: Program, tree: Path, owners: list[Path]) -> None:
    for architecture in (KernelArchitecture.X86_64, KernelArchitecture.AARCH64):
        (tree.parent / architecture).mkdir()
        for name, data in system_files(architecture).items():
            (tree.parent / architecture / name).write_bytes(data)
    trees, out_dir = (tree.parent / "x86_64", tree.parent / "aarch64"), tree.parent / "out"
    status, out, _ = program(COMMAND, *trees, "--tag", TAG, "-o", out_dir)
    archives = [out_dir / f"ec-runner-{name}-netboot-{TAG}.tar.gz" for name in ("x86_64", "aarch64")]
    assert (status, out.splitlines()) == (0, [*map(str, archives), f"{out_dir}/SHA256SUMS.txt"])
    status, out, _ = program(COMMAND, *trees, "--tag", TAG, "-o", out_dir, "--json")
    packed = json.loads(out)
    assert [(each["archive"], each["system"]) for each in packed["archives"]] == [
        (str(archives[0]), "x86_64"),
        (str(archives[1]), "aarch64"),
    ]
    assert set(packed) == {"archives", "sums", "signature"}
    status, _, err = program(COMMAND, *trees, "--tag", TAG, "--system", "x86_64")
    assert status == 2
    assert "--system is for one DIRECTORY; of several, the kernels say what they are for" in err


def test_signed_with_the_key_given(
    program: Program, tree: Path, owners: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Ed25519PrivateKey.generate()
    key_file = tree.parent / "key.pem"
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tree.parent / "here").mkdir()
    monkeypatch.chdir(tree.parent / "here")
    words = ("--signature-format", "openssl", "--key-file", key_file)
    status, out, _ = program(COMMAND, tree, "--tag", TAG, *words)
    # Without -o: here.
    assert (status, out.splitlines()[1:]) == (0, ["SHA256SUMS.txt", "SHA256SUMS.txt.sig"])
    verify_signature(
        SignatureFormat.OPENSSL,
        data=Path("SHA256SUMS.txt").read_bytes(),
        signature=Path("SHA256SUMS.txt.sig").read_bytes(),
        public_key=key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )
    status, out, _ = program(COMMAND, tree, "--tag", TAG, *words, "--json")
    assert (status, json.loads(out)["signature"]) == (0, "SHA256SUMS.txt.sig")
    assert owners == [Path(), Path()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--signature-format", "minisign"], "--signature-format and --key-file go together"),
        (["--key-file", "key"], "--signature-format and --key-file go together"),
        (["--timestamp", "100000000000"], "--timestamp"),
        (["--timestamp", "-1"], "--timestamp"),
        (["--format", "bz2"], "--format"),
    ],
)
def test_wrong_usage_writes_nothing(
    program: Program, tree: Path, owners: list[Path], words: list[str], said: str
) -> None:
    status, out, err = program(COMMAND, tree, "--tag", TAG, "-o", tree.parent / "out", *words)
    assert (status, out) == (2, "")
    assert said in err
    assert not (tree.parent / "out").exists()
    assert owners == []
