"""``ectools netboot stage``, ``rollback`` and ``releases`` as programs: what they print, say, and leave."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.forge import API, Forge, body, paced, ranged, stalls, start_forge
from support.needs import give_up, require_tool
from support.releases import (
    ARCHIVE,
    build_tar,
    check_whole,
    compress,
    release_files,
    snapshot,
    write_archive,
)

from ectools.netboot.release.store import ReleaseStore

NETBOOT = [sys.executable, "-m", "ectools.cli.main", "netboot"]
SECRET = "s3cret-forge-token"
# In a small process of its own: a child's figure begins with that of whoever forked it.
MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def run(*arguments: str | Path, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    done = subprocess.run(
        [*NETBOOT, *map(str, arguments)], capture_output=True, text=True, env=env, timeout=300, check=False
    )
    assert done.returncode == status, done.stderr
    return done


def read(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def test_a_day_of_a_boot_host(tmp_path: Path) -> None:
    state = ("--state-dir", tmp_path / "state")
    ids = []
    for text in ("one", "two", "three"):
        archive = write_archive(tmp_path, release_files(text))
        staged = read(run("stage", "--tarball", archive, *state, "--json"))
        assert (staged["outcome"], staged["removed"]) == ("staged", [])
        ids.append(staged["release"]["id"])
    one, two, three = ids
    # The archive's name holds the tag.
    first, _, third = (f"test ({each})" for each in ids)
    again = run("stage", "--tarball", archive, *state)
    assert again.stdout == f"{third}: is current already; nothing changed\n"
    assert "NO SHA256SUMS.txt IS PUBLISHED" in again.stderr

    assert read(run("rollback", *state, "--json")) == {"current": two, "previous": three}
    assert run("rollback", *state).stdout == f"{third}: current now, in place of {two}\n"
    assert run("releases", "pin", one, *state).stdout == f"{first}: pinned\n"
    listed = {each["id"]: each["marks"] for each in read(run("releases", "list", *state, "--json"))}
    assert listed == {one: ["pinned"], two: ["previous"], three: ["current"]}
    assert f"{one}  test  " in run("releases", "list", *state).stdout

    assert "removed" not in run("releases", "collect", "--keep", "0", *state).stdout
    assert run("releases", "unpin", one, *state).stdout == f"{one}: no longer pinned\n"
    dry = run("releases", "collect", "--keep", "0", "--dry-run", *state)
    assert f"{first}: would be removed" in dry.stdout
    fates = {
        each["id"]: each["fate"] for each in read(run("releases", "collect", "--keep", "0", *state, "--json"))
    }
    assert fates == {one: "removed", two: "previous", three: "current"}

    assert run("releases", "verify", *state).stdout.count(": whole\n") == 2
    (tmp_path / "state" / "previous" / "initrd").write_bytes(b"bad")
    damaged = run("releases", "verify", *state, status=1)
    assert f"test ({two}): initrd has 3 bytes" in damaged.stdout
    assert read(run("releases", "verify", two, *state, "--json", status=1))[0]["file"] == "initrd"
    assert "is damaged: initrd has 3 bytes" in run("rollback", *state, status=1).stderr


def test_bad_usage_is_told_from_failure(tmp_path: Path) -> None:
    state = ("--state-dir", tmp_path / "state")
    for arguments, words in (
        (("stage", "--tarball", tmp_path / "none.tar.gz", *state), "No such file"),
        (("stage", "--tarball", tmp_path, *state), "is not a file"),
        (("stage", "--tarball", "x.tar.gz", "--tag", "boot-v1", *state), "exclude each other"),
        (("stage", "--repo", "x", "--host", "ftp://x", *state), "--host"),
        (("stage", "--signature-format", "pgp", *state), "--signature-format: "),
        (("stage", "--signature-format", "minisign", *state), "release.signature.publicKeyFile"),
        (("stage", "--config", tmp_path / "none.json"), "none.json"),
        (("releases", "pin", "nonsense", *state), "no such release is staged"),
        (("releases", "pin", *state), "RELEASE"),
        (("stage", "--token", "x", *state), "--token"),
    ):
        done = run(*arguments, status=2)
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    unknown = "sha256-" + "0" * 32
    for words in (
        ("rollback",),
        *(("releases", *rest) for rest in (("collect",), ("pin", unknown), ("unpin", unknown))),
    ):
        assert "nothing was ever staged there" in run(*words, *state, status=1).stderr
    for words in ("list", "verify"):
        assert "nothing was ever staged there" in run("releases", words, *state, status=1).stderr
    assert not (tmp_path / "state").exists()
    (tmp_path / "state").mkdir()
    assert run("releases", "list", *state).stdout == ""
    assert "no previous release" in run("rollback", *state, status=1).stderr


def test_settings_from_a_file_and_the_environment(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, release_files())
    config = tmp_path / "netboot.json"
    settings = {
        "listenIP": "192.0.2.1",
        "stateDir": str(tmp_path / "state"),
        "release": {"requireSums": True},
    }
    config.write_text(json.dumps(settings))
    variable = {"EVERY_CHANNEL_NETBOOT_TARBALL": str(archive)}
    done = run("stage", "--config", config, status=1, **variable)
    assert "there is no SHA256SUMS.txt, and release.requireSums is set" in done.stderr
    sums = subprocess.run(["sha256sum", ARCHIVE], cwd=tmp_path, capture_output=True, check=True).stdout
    (tmp_path / "SHA256SUMS.txt").write_bytes(sums)
    run("stage", "--config", config, **variable)
    assert check_whole(tmp_path / "state")


def test_the_token_is_nowhere_to_be_seen(tmp_path: Path) -> None:
    data = compress(build_tar(release_files()))
    token_file = tmp_path / "token"
    token_file.write_text(SECRET)
    with start_forge(data) as forge:
        forge.on_archive(stalls(data[:100], length=len(data)))
        argv = [
            *NETBOOT,
            "stage",
            "--host",
            forge.url,
            "--repo",
            "owner/name",
            "--token-file",
            str(token_file),
        ]
        argv += ["--state-dir", str(tmp_path / "state")]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            try:
                # It downloads when the forge has seen its request: look at it then.
                while not forge.asked_archive() and child.poll() is None:
                    os.sched_yield()
                for name in ("cmdline", "environ"):
                    assert SECRET.encode() not in Path(f"/proc/{child.pid}/{name}").read_bytes()
            finally:
                child.terminate()
            stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM
    assert SECRET not in stdout + stderr
    assert forge.seen[0][1]["Authorization"] == f"token {SECRET}"
    # SIGTERM in the middle leaves nothing.
    assert snapshot(tmp_path / "state") == {".staging": "directory"}


def publish(forge: Forge, directory: Path, tag: str) -> None:
    """The files of ``directory`` as the forge's latest release."""
    place = f"/owner/name/releases/download/{tag}"
    assets = [
        {
            "name": path.name,
            "size": path.stat().st_size,
            "browser_download_url": f"{forge.url}{place}/{path.name}",
        }
        for path in directory.iterdir()
    ]
    answer = [body(json.dumps({"tag_name": tag, "assets": assets}).encode())]
    forge.answers = {f"{API}/latest": answer, f"{API}/tags/{tag}": answer}
    for path in directory.iterdir():
        forge.answers[f"{place}/{path.name}"] = [ranged(path.read_bytes())]


def test_a_forge_that_offers_an_old_release_as_its_latest(tmp_path: Path) -> None:
    program = require_tool("ssh-keygen", "Debian: openssh-client")
    key = tmp_path / "id"
    subprocess.run([program, "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    old, new = "boot-v2026.03.02", "boot-v2026.03.02.1"
    for tag in (old, new):
        tree = tmp_path / f"tree-{tag}"
        tree.mkdir()
        for name, data in release_files(tag).items():
            (tree / name).write_bytes(data)
        run(
            "pack",
            tree,
            "--tag",
            tag,
            "-o",
            tmp_path / tag,
            "--signature-format",
            "openssh",
            "--key-file",
            key,
        )
    pinned = ("--signature-format", "openssh", "--public-key-file", key.with_suffix(".pub"))
    with start_forge() as forge:
        arguments = ("stage", "--host", forge.url, "--repo", "owner/name", *pinned)
        state = ("--state-dir", tmp_path / "state")
        publish(forge, tmp_path / new, new)
        run(*arguments, *state)
        publish(forge, tmp_path / old, old)
        done = run(*arguments, *state, status=1)
        assert "as of 2026-03-02T00:00:00Z, and what is current, boot-v2026.03.02.1 (sha256-" in done.stderr
        assert "--tag boot-v2026.03.02" in done.stderr
        release = check_whole(tmp_path / "state")
        assert release is not None
        assert release.tag == new
        assert read(run(*arguments, "--tag", old, *state, "--json"))["outcome"] == "staged"


@pytest.mark.parametrize("bad", [b"", b"not an archive", compress(build_tar({"kernel": b"x"}))])
def test_nothing_is_left_of_what_fails(bad: bytes, tmp_path: Path) -> None:
    run("stage", "--tarball", write_archive(tmp_path, release_files()), "--state-dir", tmp_path / "state")
    before = snapshot(tmp_path / "state")
    (tmp_path / ARCHIVE).write_bytes(bad)
    done = run("stage", "--tarball", tmp_path / ARCHIVE, "--state-dir", tmp_path / "state", status=1)
    assert done.stderr.splitlines()[-1].startswith(("ectools: ", "  hint: "))
    assert "Traceback" not in done.stderr
    assert snapshot(tmp_path / "state") == before


def test_root_leaves_files_that_the_service_can_remove(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        give_up("only root can act as another user")
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65534, 65534)
    # The archive, and the way to it, are root's alone.
    archive = write_archive(tmp_path, release_files())
    archive.chmod(0o600)
    tmp_path.chmod(0o700)
    run("stage", "--tarball", archive, "--state-dir", state)
    assert {path.lstat().st_uid for path in state.rglob("*")} == {65534}
    assert ReleaseStore(state).find_current()


def test_root_who_cannot_act_as_the_owner_is_told_so(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        give_up("only root can make a directory another user's")
    mapped_root = [require_tool("unshare", "install util-linux"), "--map-root-user"]
    if subprocess.run([*mapped_root, "true"], check=False).returncode != 0:
        give_up("this kernel gives no user namespace")
    os.chown(tmp_path, 65534, 65534)
    argv = [*mapped_root, *NETBOOT, "rollback", "--state-dir", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert f"{tmp_path}: is the user 65534's" in done.stderr


def test_a_terminal_shows_how_far_it_is(tmp_path: Path) -> None:
    data = gzip.compress(build_tar({**release_files(), "more": os.urandom(1 << 20)}), 0)
    with start_forge(data) as forge:
        forge.on_archive(paced(data, seconds=1.0))
        controller, terminal = pty.openpty()
        argv = [
            *NETBOOT,
            "stage",
            "--host",
            forge.url,
            "--repo",
            "owner/name",
            "--state-dir",
            str(tmp_path / "state"),
        ]
        env = {**os.environ, "COLUMNS": "80"}
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=terminal, env=env) as child:
            os.close(terminal)
            shown = b""
            # Linux has a read end with EIO once the last writer is gone.
            with contextlib.suppress(OSError):
                while part := os.read(controller, 65536):
                    shown += part
        os.close(controller)
    assert child.returncode == 0
    text = shown.decode(errors="replace")
    assert re.search(r"…\S*-test\.tar\.gz {2}\[█+·+\] +\d+% .*MB/s", text)
    assert '"event"' not in text


@pytest.mark.parametrize("kind", ["gz", "xz", "zst"])
def test_memory_does_not_depend_on_the_size(kind: str, tmp_path: Path) -> None:
    files = {**release_files(), "zeros": bytes(160 << 20)}
    archive = write_archive(tmp_path, files, f"large.tar.{kind}")
    argv = [*NETBOOT, "stage", "--tarball", str(archive), "--state-dir", str(tmp_path / "state")]
    done = subprocess.run([sys.executable, "-c", MEASURE, *argv], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 80_000, "in kB"


def test_packing_as_a_program(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name, data in release_files().items():
        (tree / name).write_bytes(data)
    done = run("pack", tree, "--tag", "boot-v1", "-o", tmp_path / "out", "--format", "zst")
    assert done.stdout.splitlines() == [
        str(tmp_path / "out" / name)
        for name in ("ec-runner-x86_64-netboot-boot-v1.tar.zst", "SHA256SUMS.txt")
    ]
    packed = read(
        run("pack", tree, "--tag", "boot-v1", "-o", tmp_path / "again", "--format", "zst", "--json")
    )
    assert Path(packed["archive"]).read_bytes() == Path(done.stdout.splitlines()[0]).read_bytes()
    run("stage", "--tarball", packed["archive"], "--state-dir", tmp_path / "state", "--require-sums")
    assert check_whole(tmp_path / "state")
    for arguments in (
        ("pack", tree),
        ("pack", tree, "--tag", "a/b"),
        ("pack", tmp_path / "none", "--tag", "x"),
        ("pack", tree, "--tag", "x", "--key-file", "k"),
    ):
        assert "Traceback" not in run(*arguments, "-o", tmp_path / "bad", status=2).stderr
    assert not (tmp_path / "bad").exists()
