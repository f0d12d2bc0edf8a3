"""Packing: the same bytes at every run, and what comes back out of them."""

from __future__ import annotations

import base64
import gzip
import os
import subprocess
import tarfile
import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernels import system_files
from support.needs import require_tool
from support.releases import SCRIPT, build_settings, check_whole, release_files

from ectools.archive.names import find_name_fault, fold_name, is_macos_record
from ectools.errors import EcError, InputError
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.archive_writer import Compression
from ectools.netboot.release.boot_entry import BootEntryError
from ectools.netboot.release.checksums import parse_release_times
from ectools.netboot.release.pack import Packed, SigningKey, find_tag_time, pack
from ectools.netboot.release.stage import stage
from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import SUFFIXES, SignatureError, make_signature, verify_signature

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"


# minisign's, by its length and what it begins with: a key derivation that is not none.
ENCRYPTED = b"untrusted comment: x\n" + base64.b64encode(b"EdScB2".ljust(158, b"\0")) + b"\n"


def write_tree(directory: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree", release_files())


def read(packed: Packed) -> list[bytes]:
    return [
        path.read_bytes()
        for path in (packed.archives[0].path, packed.sums, packed.signature)
        if path is not None
    ]


@pytest.mark.parametrize("compression", Compression)
def test_two_runs_are_identical(compression: Compression, tree: Path, tmp_path: Path) -> None:
    first = pack([tree], tmp_path / "a", tag="boot-v1", compression=compression)
    # Another directory, other owners' bits, other times, another order of making.
    other = write_tree(tmp_path / "other", dict(reversed(release_files().items())))
    for path in other.iterdir():
        path.chmod(0o600)
        os.utime(path, (1e9, 1e9))
    second = pack([other], tmp_path / "b", tag="boot-v1", compression=compression)
    assert first.archives[0].path.name == f"ec-runner-x86_64-netboot-boot-v1.tar.{compression}"
    assert read(first) == read(second)
    assert read(first) == read(pack([tree], tmp_path / "a", tag="boot-v1", compression=compression))


def test_what_is_packed_is_what_is_staged(tree: Path, tmp_path: Path) -> None:
    (tree / "nix-support").mkdir()
    (tree / "nix-support" / "hydra-build-products").write_text("not a boot file")
    (tree / "linked").symlink_to(tree / "kernel")
    packed = pack([tree], tmp_path / "out", tag="boot-v1", architecture=KernelArchitecture.AARCH64)
    stage(
        build_settings(
            tmp_path / "state", release_tarball=str(packed.archives[0].path), release_requireSums=True
        )
    )
    release = check_whole(tmp_path / "state")
    assert release is not None
    assert set(release.files) == {"kernel", "initrd", "netboot.ipxe", "linked"}
    assert (
        release.systems[0].archive_sha256
        == packed.archives[0].sha256
        == sha256(packed.archives[0].path.read_bytes()).hexdigest()
    )


NAME = st.text("abcÄß☃ .-_", min_size=1, max_size=12)
NAMES = (
    st.lists(NAME, min_size=1, max_size=3).map("/".join).filter(lambda name: find_name_fault(name) is None)
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=2000), max_size=5), st.sampled_from(Compression))
def test_packing_and_staging_change_nothing(extra: dict[str, bytes], compression: Compression) -> None:
    if any(map(is_macos_record, extra)):
        return  # neither packed nor staged
    folded = [fold_name(name) for name in extra]
    parents = {fold_name(str(parent)) for name in extra for parent in Path(name).parents}
    if len(set(folded)) < len(folded) or parents & set(folded):
        return  # the file system, or staging, takes two of them for one
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        top = Path(name)
        files = {**extra, **release_files()}
        packed = pack([write_tree(top / "tree", files)], top / "out", tag="x", compression=compression)
        staged = stage(build_settings(top / "state", release_tarball=str(packed.archives[0].path)))
        directory = top / "state" / "current"
        assert {name: (directory / name).read_bytes() for name in staged.release.files} == files


def test_long_names_and_sizes_past_a_gigabyte_of_octal(tree: Path, tmp_path: Path) -> None:
    write_tree(tree, {"d/" + "n" * 250: b"x"})
    packed = pack([tree], tmp_path / "out", tag="x")
    staged = stage(build_settings(tmp_path / "state", release_tarball=str(packed.archives[0].path)))
    assert "d/" + "n" * 250 in staged.release.files


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("kernel", "the kernel kernel is empty: no machine could boot it"),
        ("initrd", "the initrd initrd is empty: no machine could boot it"),
        ("netboot.ipxe", "netboot.ipxe:1: an iPXE script begins with"),
    ],
)
def test_nothing_empty_is_packed_to_be_booted(tree: Path, tmp_path: Path, name: str, words: str) -> None:
    """As a full disk leaves it; of several directories the one is named that has it."""
    write_tree(tree, {name: b""})
    with pytest.raises(BootEntryError) as caught:
        pack([tree], tmp_path / "out", tag="boot-v1")
    assert caught.value.message.startswith(f"{tree}: {words}")
    assert not (tmp_path / "out").exists()


def test_what_macos_adds_is_not_packed(tree: Path, tmp_path: Path) -> None:
    write_tree(tree, {"._kernel": b"x", "d/.DS_Store": b"x", "__MACOSX/a": b"x", "d/kept": b"x"})
    (packed,) = pack([tree], tmp_path / "out", tag="x").archives
    with tarfile.open(packed.path) as archive:
        names = set(archive.getnames())
    assert "d/kept" in names
    assert not [name for name in names if is_macos_record(name)]


def test_sums_of_other_archives_stay(tree: Path, tmp_path: Path) -> None:
    first = pack([tree], tmp_path / "out", tag="x")
    second = pack([tree], tmp_path / "out", tag="x", architecture=KernelArchitecture.AARCH64)
    (one,), (two,) = first.archives, second.archives
    lines = second.sums.read_text().splitlines()
    assert lines == sorted(
        [
            f"{one.sha256}  {one.path.name}",
            f"{two.sha256}  {two.path.name}",
        ],
        key=lambda x: x[66:],
    )
    program = require_tool("sha256sum", "it is part of coreutils")
    subprocess.run([program, "--check", "--strict", second.sums.name], cwd=tmp_path / "out", check=True)


def test_several_outputs_are_one_release(tmp_path: Path) -> None:
    """One file of sums and one signature over all; staged together, they are what was packed."""
    key, _ = make_key("openssl ED25519", tmp_path)
    trees = [
        write_tree(tmp_path / architecture, system_files(architecture))
        for architecture in (KernelArchitecture.X86_64, KernelArchitecture.AARCH64)
    ]
    packed = pack(trees, tmp_path / "out", tag="boot-v2026.03.02", key=key)
    names = [f"ec-runner-{name}-netboot-boot-v2026.03.02.tar.gz" for name in ("x86_64", "aarch64")]
    assert [each.path.name for each in packed.archives] == names
    times = parse_release_times(packed.sums.read_bytes(), where="SUMS")
    assert times == dict.fromkeys(names, 1772409600)
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*names, "SHA256SUMS.txt", "SHA256SUMS.txt.sig"])
    tarballs = [str(each.path) for each in packed.archives]
    stage(build_settings(tmp_path / "state", release_tarball=tarballs, release_requireSums=True))
    release = check_whole(tmp_path / "state")
    assert release is not None
    assert {each.archive_sha256 for each in release.systems} == {each.sha256 for each in packed.archives}
    assert read(packed) == read(pack(trees, tmp_path / "again", tag="boot-v2026.03.02", key=key))


def test_the_kernel_says_what_an_archive_is_called(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", system_files(KernelArchitecture.AARCH64))
    # As Nix has it: a link to another output.
    (tree / "kernel").rename(tmp_path / "Image")
    (tree / "kernel").symlink_to(tmp_path / "Image")
    (archive,) = pack([tree], tmp_path / "out", tag="x").archives
    assert (archive.path.name, archive.architecture) == (
        "ec-runner-aarch64-netboot-x.tar.gz",
        KernelArchitecture.AARCH64,
    )
    with pytest.raises(InputError) as caught:
        pack([tree], tmp_path / "wrong", tag="x", architecture=KernelArchitecture.X86_64)
    assert caught.value.message == (
        f"{tree}: is to be packed for x86_64, and its kernel kernel is for aarch64"
    )
    assert not (tmp_path / "wrong").exists()


def test_two_outputs_for_one_architecture_write_nothing(tree: Path, tmp_path: Path) -> None:
    other = write_tree(tmp_path / "other", system_files(KernelArchitecture.X86_64))
    with pytest.raises(InputError, match=rf"^{tree} and {other}: both are for x86_64$"):
        pack([tree, other], tmp_path / "out", tag="x")
    assert not (tmp_path / "out").exists()


def test_a_key_may_come_from_a_pipe(tree: Path, tmp_path: Path) -> None:
    key, _ = make_key("openssl ED25519", tmp_path)
    in_file = pack([tree], tmp_path / "out", tag="x", key=key).signature
    with subprocess.Popen(["cat", key.file], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        piped = replace(key, file=Path(f"/dev/fd/{cat.stdout.fileno()}"))
        by_pipe = pack([tree], tmp_path / "again", tag="x", key=piped).signature
    assert in_file is not None
    assert by_pipe is not None
    assert by_pipe.read_bytes() == in_file.read_bytes()


def test_the_sums_say_when_each_archive_was_released(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, _ = make_key("openssl ED25519", tmp_path)
    pack([tree], tmp_path / "out", tag="boot-v2026.03.02")
    pack([tree], tmp_path / "out", tag="boot-v2026.03.02.1", architecture=KernelArchitecture.AARCH64)
    pack([tree], tmp_path / "out", tag="other", released_at=7)
    packed = pack([tree], tmp_path / "out", tag="another", key=key)
    assert caplog.messages == [
        "the tag names no day: by these sums no boot server can tell an old release from a new one"
    ]
    name = "ec-runner-x86_64-netboot"
    assert parse_release_times(packed.sums.read_bytes(), where="SUMS") == {
        f"{name}-boot-v2026.03.02.tar.gz": 1772409600,
        "ec-runner-aarch64-netboot-boot-v2026.03.02.1.tar.gz": 1772409601,
        f"{name}-other.tar.gz": 7,
    }
    program = require_tool("sha256sum", "it is part of coreutils")
    subprocess.run([program, "--check", "--strict", packed.sums.name], cwd=tmp_path / "out", check=True)
    # Packed again, it is what it is called now.
    packed = pack([tree], tmp_path / "out", tag="other")
    assert f"{name}-other.tar.gz" not in parse_release_times(packed.sums.read_bytes(), where="SUMS")


@pytest.mark.parametrize(
    ("tag", "seconds"),
    [
        ("boot-v2026.03.02", 1772409600),
        ("v2026.03.02.12", 1772409612),
        ("boot-v2026.02.30", None),
        ("boot-v2026.3.2", None),
        ("boot-v1", None),
        ("xv2026.03.02", None),
        ("boot-v2026.03.02-rc1", None),
    ],
)
def test_the_day_in_a_tag(tag: str, seconds: int | None) -> None:
    assert find_tag_time(tag) == seconds


@pytest.mark.parametrize(
    ("files", "tag", "words"),
    [
        ({"kernel": b"", "initrd": b""}, "x", "has no netboot.ipxe"),
        ({"netboot.ipxe": SCRIPT}, "x", "netboot.ipxe:4: bzImage is not in"),
        ({**release_files(), "a\nb": b""}, "x", "control character"),
        ({**release_files(), "release.json": b""}, "x", "own record"),
        ({**release_files(), "Kernel": b""}, "x", "differ by case"),
        ({**release_files(), "a/x": b"", "A/y": b""}, "x", "differ by case"),
        (release_files(), "../x", "not a tag"),
        (release_files(), "a/b", "not a tag"),
        (release_files(), "", "not a tag"),
    ],
)
def test_what_cannot_be_packed(files: dict[str, bytes], tag: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(EcError, match=words):
        pack([write_tree(tmp_path / "tree", files)], tmp_path / "out", tag=tag)
    assert not (tmp_path / "out").exists()


def test_other_things_than_files(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(EcError, match="not a directory"):
        pack([tree / "kernel"], tmp_path / "out", tag="x")
    with pytest.raises(EcError, match="lies in the directory that is packed"):
        pack([tree], tree / "out", tag="x")
    os.mkfifo(tree / "pipe")
    with pytest.raises(EcError, match="pipe: not a file"):
        pack([tree], tmp_path / "out", tag="x")
    (tree / "pipe").unlink()
    (tree / "dangling").symlink_to("nowhere")
    with pytest.raises(EcError, match="dangling: not a file"):
        pack([tree], tmp_path / "out", tag="x")


def make_key(kind: str, directory: Path) -> tuple[SigningKey, bytes]:
    """A private key made by the real program, and its public one."""
    program, _, variant = kind.partition(" ")
    private, public = directory / "private", directory / "private.pub"
    if program == "minisign":
        argv = [require_tool("minisign", "Debian: minisign"), "-G", "-W", "-s", private, "-p", public]
        subprocess.run(argv, check=True, capture_output=True)
    elif program == "openssh":
        argv = [
            require_tool("ssh-keygen", "Debian: openssh-client"),
            "-q",
            "-t",
            variant,
            "-N",
            "",
            "-f",
            private,
        ]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    else:
        tool = require_tool("openssl", "Debian: openssl")
        curve = ["-pkeyopt", "ec_paramgen_curve:P-256"] if variant == "EC" else []
        subprocess.run(
            [tool, "genpkey", "-algorithm", variant, *curve, "-out", private], check=True, capture_output=True
        )
        subprocess.run([tool, "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return SigningKey(format=SignatureFormat(program), file=private), public.read_bytes()


def verify_by_program(kind: str, directory: Path, signed: Path, signature: Path) -> None:
    """The tool itself takes it."""
    program, _, variant = kind.partition(" ")
    public = directory / "private.pub"
    if program == "minisign":
        argv = ["minisign", "-V", "-p", public, "-x", signature, "-m", signed]
    elif program == "openssh":
        (directory / "allowed").write_text("me " + public.read_text())
        argv = [
            "ssh-keygen",
            "-Y",
            "verify",
            "-f",
            directory / "allowed",
            "-I",
            "me",
            "-n",
            "file",
            "-s",
            signature,
        ]
    elif variant == "ED25519":
        argv = [
            "openssl",
            "pkeyutl",
            "-verify",
            "-rawin",
            "-pubin",
            "-inkey",
            public,
            "-in",
            signed,
            "-sigfile",
            signature,
        ]
    else:
        argv = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", signature, signed]
    subprocess.run(argv, check=True, capture_output=True, input=signed.read_bytes())


@pytest.mark.parametrize(
    "kind",
    ["minisign", "openssh ed25519", "openssh rsa", "openssl RSA", "openssl EC", "openssl ED25519"],
)
def test_signing(kind: str, tree: Path, tmp_path: Path) -> None:
    key, public = make_key(kind, tmp_path)
    packed = pack([tree], tmp_path / "out", tag="x", key=key)
    assert packed.signature is not None
    assert packed.signature.name == f"SHA256SUMS.txt{SUFFIXES[key.format]}"
    verify_by_program(kind, tmp_path, packed.sums, packed.signature)
    verify_signature(
        key.format, data=packed.sums.read_bytes(), signature=packed.signature.read_bytes(), public_key=public
    )
    assert read(packed) == read(pack([tree], tmp_path / "again", tag="x", key=key))
    (tmp_path / "key.pub").write_bytes(public)
    flags = {
        "release_signature.format": str(key.format),
        "release_signature.publicKeyFile": str(tmp_path / "key.pub"),
    }
    stage(build_settings(tmp_path / "state", release_tarball=str(packed.archives[0].path), **flags))


def test_a_key_that_cannot_sign_leaves_nothing(tree: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.key"
    bad.write_text("no key")
    key = SigningKey(format=SignatureFormat.OPENSSL, file=bad)
    with pytest.raises(SignatureError, match=rf"^{bad}: not a private key") as caught:
        pack([tree], tmp_path / "out", tag="x", key=key)
    assert caught.value.hint == "name the private key's file, and whose it is: this was read as openssl's"
    # What the program itself says of it stays.
    encrypted = SigningKey(format=SignatureFormat.MINISIGN, file=bad, content=ENCRYPTED)
    with pytest.raises(SignatureError, match=rf"^{bad}: the private key of minisign is encrypted") as caught:
        encrypted.read()
    assert "minisign -G -W" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()


def test_a_signature_that_no_longer_fits_is_told(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, _ = make_key("openssl ED25519", tmp_path)
    for _ in range(2):
        pack([tree], tmp_path / "out", tag="boot-v2026.03.02", key=key)
    assert caplog.messages == []
    # Without its statement, which takes the key, the archive is another one.
    pack([tree], tmp_path / "out", tag="boot-v2026.03.02")
    assert caplog.messages == ["the sums have changed, and this is a signature of the old ones"]


def test_what_minisign_signs_is_taken(tree: Path, tmp_path: Path) -> None:
    _, public = make_key("minisign", tmp_path)
    packed = pack([tree], tmp_path / "out", tag="x")
    for legacy in ([], ["-l"]):
        argv = ["minisign", "-S", *legacy, "-s", tmp_path / "private", "-m", packed.sums]
        subprocess.run(argv, check=True, capture_output=True)
        signature = packed.sums.with_name("SHA256SUMS.txt.minisig").read_bytes()
        data = packed.sums.read_bytes()
        verify_signature(SignatureFormat.MINISIGN, data=data, signature=signature, public_key=public)


@pytest.mark.parametrize("form", SignatureFormat)
@pytest.mark.parametrize("junk", [b"", b"nonsense", b"\xff\xfe", b"untrusted comment: x\n" + b"A" * 212])
def test_keys_that_are_none(form: SignatureFormat, junk: bytes) -> None:
    with pytest.raises(SignatureError):
        make_signature(form, data=b"x", private_key=junk)


def test_an_encrypted_key_is_told(tmp_path: Path) -> None:
    tool = require_tool("ssh-keygen", "Debian: openssh-client")
    argv = [tool, "-q", "-t", "ed25519", "-N", "secret", "-f", tmp_path / "id"]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    with pytest.raises(SignatureError, match="encrypted"):
        make_signature(SignatureFormat.OPENSSH, data=b"x", private_key=(tmp_path / "id").read_bytes())


def test_the_example_is_what_it_is_made_of(tmp_path: Path) -> None:
    """Uncompressed: another zlib may compress otherwise."""
    packed = pack([EXAMPLES / "netboot-release"], tmp_path, tag="example")
    committed = EXAMPLES / packed.archives[0].path.name
    assert gzip.decompress(committed.read_bytes()) == gzip.decompress(packed.archives[0].path.read_bytes())
    digest = sha256(committed.read_bytes()).hexdigest()
    assert (EXAMPLES / "SHA256SUMS.txt").read_text() == f"{digest}  {committed.name}\n"
    stage(build_settings(tmp_path / "state", release_tarball=str(committed), release_requireSums=True))
    assert check_whole(tmp_path / "state")
