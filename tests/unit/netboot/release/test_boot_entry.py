from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.releases import SCRIPT, build_settings
from support.staged import make_system

from ectools.archive.file_record import FileRecord
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.release.boot_entry import (
    BootEntryError,
    parse_boot_entry,
)
from ectools.netboot.release.manifest import BootEntry, Release, build_id
from ectools.netboot.release.store_image import BESIDE_SCRIPT, STORE_NAME

FILES = ("kernel", "initrd", "netboot.ipxe", "boot/extra", "boot/initrd", "in(i)trd")


def parse(*lines: str) -> BootEntry:
    return parse_boot_entry("\n".join(("#!ipxe", *lines)).encode(), FILES)


def test_what_nixos_writes() -> None:
    assert parse_boot_entry(SCRIPT, FILES) == BootEntry(
        kernel="kernel",
        arguments=("init=/nix/store/abc-nixos-system/init", "initrd=initrd", "loglevel=4", "${cmdline}"),
        initrds=("initrd",),
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["kernel kernel", "initrd initrd", "boot"], ("kernel", (), ("initrd",))),
        (["kernel /kernel a", "initrd /initrd", "boot"], ("kernel", ("a",), ("initrd",))),
        (["kernel kernel", "initrd /boot/extra", "boot"], ("kernel", (), ("boot/extra",))),
        (["kernel boot/bzImage", "kernel"], None),
        (["kernel Image a=b", "initrd initrd", "boot kernel"], ("kernel", ("a=b",), ("initrd",))),
        (["kernel /srv/boot/kernel", "initrd boot/extra", "boot"], ("kernel", (), ("boot/extra",))),
        (["kernel --name kernel kernel", "initrd -n initrd initrd", "boot"], ("kernel", (), ("initrd",))),
        (["  kernel\tkernel  a   b \r", "", "# a", "echo hi", "dhcp", "boot"], ("kernel", ("a", "b"), ())),
        (["kernel kernel \\", "  a \\", "  b", "boot"], ("kernel", ("a", "b"), ())),
        (["kernel kernel a\\", "b \\\\", "", "", "initrd initrd", "boot"], ("kernel", ("ab",), ("initrd",))),
        (["kernel -qn kernel kernel", "boot"], None),
        (["kernel -nkernel -- kernel", "boot"], ("kernel", (), ())),
        (
            ["initrd initrd", "initrd boot/extra", "kernel kernel", "boot"],
            ("kernel", (), ("initrd", "boot/extra")),
        ),
        (
            ["kernel kernel a #b && c", "initrd initrd # the only one", "boot #"],
            ("kernel", ("a",), ("initrd",)),
        ),
        (["kernel kernel initrd=initrd.magic x", "boot"], ("kernel", ("initrd.magic", "x"), ())),
        (
            ["kernel kernel ip=${net0/ip:ipv4} m=${mac}", "boot"],
            ("kernel", ("ip=${net0/ip:ipv4}", "m=${mac}"), ()),
        ),
    ],
)
def test_forms_of_the_script(
    lines: list[str], expected: tuple[str, tuple[str, ...], tuple[str, ...]] | None
) -> None:
    if expected is None:
        with pytest.raises(BootEntryError):
            parse(*lines)
        return
    found = parse(*lines)
    kernel, arguments, initrds = expected
    shown = tuple(argument.removeprefix("initrd=") for argument in found.arguments)
    assert (found.kernel, shown, found.initrds) == (kernel, arguments, initrds)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["kernel other", "boot"],
            "netboot.ipxe:2: other is not in the release, which has boot/extra, boot/initrd",
        ),
        (["kernel kernel", "initrd none", "boot"], "netboot.ipxe:3: none is not in"),
        (["kernel http://192.0.2.1/kernel", "boot"], "netboot.ipxe:2: http://192.0.2.1/kernel is no file"),
        (["kernel ${base}/kernel", "boot"], "netboot.ipxe:2: ${base}/kernel is no file"),
        (["kernel kernel a=${own}", "boot"], "a=${own} has a variable"),
        (["kernel kernel a=${cmdline", "boot"], "a=${cmdline has a variable"),
        (["kernel kernel || goto fail", "boot"], "conditions are not supported"),
        (["kernel"], "kernel names no file"),
        (["kernel --timeout 5 kernel", "boot"], "the option --timeout is not supported"),
        (["kernel --name linux kernel", "boot"], "under another name"),
        (["kernel kernel", "kernel kernel", "boot"], "netboot.ipxe:3: a second kernel"),
        (["kernel kernel", "initrd initrd", "initrd initrd", "boot"], "a second time"),
        (["kernel kernel", "initrd initrd mode=755", "boot"], "an initrd with arguments"),
        (["kernel kernel", "boot http://x"], "boot with arguments"),
        (["kernel kernel", "boot", "kernel kernel"], "netboot.ipxe:4: a command stands after boot"),
        (["chain http://192.0.2.1/x"], "netboot.ipxe:2: the command chain is not supported"),
        (["isset ${net0/ip} || dhcp"], "the command isset is not supported"),
        (["boot"], "has no kernel command"),
        (["kernel kernel"], "has no boot command"),
        (["kernel kernel initrd=other", "initrd initrd", "boot"], "told initrd=other"),
        (["kernel kernel a ; shell", "boot"], "';' is not printable ASCII, or ends the command"),
        (["kernel kernel a\u00a0b", "boot"], "'a\\xa0b' is not printable ASCII"),
        (["kernel kernel", "boot \\"], "boot with arguments"),
        (["kernel kernel", ":again boot"], "the command :again is not supported"),
        (["kernel kernel a=\u00e9", "boot"], "'a=\u00e9' is not printable ASCII"),
        (["kernel kernel", "initrd in(i)trd", "boot"], "the name 'in(i)trd' has other characters"),
        (["kernel kernel", "initrd boot/initrd", "initrd initrd", "boot"], "several files of one name"),
        (["kernel kernel a\\ # more", "boot"], "ends in a backslash"),
    ],
)
def test_what_is_refused(lines: list[str], words: str) -> None:
    with pytest.raises(BootEntryError) as caught:
        parse(*lines)
    assert words in caught.value.message


def test_a_store_that_stage_1_fetches_has_to_be_in_the_release() -> None:
    script = b"#!ipxe\nkernel kernel every_channel.store=${cwuri} a=b\ninitrd initrd\nboot\n"
    found = parse_boot_entry(script, [*FILES, STORE_NAME])
    assert found.arguments == (BESIDE_SCRIPT, "a=b")
    with pytest.raises(BootEntryError, match=r"ipxe:2: store\.squashfs is not in the release"):
        parse_boot_entry(script, FILES)
    # The script's own address says nothing anywhere else.
    for other in (b"every_channel.store=x${cwuri}", b"x=${cwuri}"):
        with pytest.raises(BootEntryError, match="has a variable"):
            parse_boot_entry(script.replace(b"every_channel.store=${cwuri}", other), [*FILES, STORE_NAME])


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (b"kernel kernel\nboot\n", "netboot.ipxe:1: an iPXE script begins"),
        (b"#!ipxed\n", "an iPXE script begins"),
        (b"", "an iPXE script begins"),
        (b"#!ipxe\n\xff", "not UTF-8"),
        (b"#!ipxe\n" + b"#" * 70000, "larger than"),
    ],
)
def test_what_is_no_script(script: bytes, words: str) -> None:
    with pytest.raises(BootEntryError, match=words):
        parse_boot_entry(script, FILES)


WORD = st.sampled_from(
    ["kernel", "initrd", "boot", "--name", "-n", "||", ";", "\\", "#", "a=b", "${cmdline}", "${", "/", ""]
)
NAME = st.sampled_from([*FILES, "bzImage"])
BOOTED = WORD | NAME | st.text(st.characters(exclude_categories=("Cc", "Cs", "Z")), max_size=4)


@settings(deadline=None)
@given(st.lists(st.lists(WORD, max_size=5), max_size=6))
def test_any_script_is_read_or_refused(lines: list[list[str]]) -> None:
    with contextlib.suppress(BootEntryError):
        found = parse(*map(" ".join, lines))
        assert {found.kernel, *found.initrds} <= set(FILES)


@given(NAME, st.lists(BOOTED, max_size=4), st.lists(NAME, max_size=3))
def test_what_is_accepted_can_be_served(kernel: str, arguments: list[str], initrds: list[str]) -> None:
    with contextlib.suppress(BootEntryError):
        boot = parse(
            " ".join(["kernel", kernel, *arguments]), *(f"initrd {name}" for name in initrds), "boot"
        )
        files = dict.fromkeys(FILES, FileRecord(size=0, sha256="0" * 64))
        release = Release(
            id=build_id(files),
            tag=None,
            staged_at=0,
            files=files,
            systems=(make_system(boot),),
        )
        assert f"set ec-path /releases/{release.id}/{boot.kernel}\n" in build_netboot(
            build_settings(Path("/state")), release, None
        )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["kernel kernel ${x}"], "netboot.ipxe:2: ${x} has a variable that only a script of your own could "),
        (["kernel -x=y kernel"], "netboot.ipxe:2: the option -x is not supported\n  kernel -x=y kernel"),
        (["kernel --name=other kernel"], "netboot.ipxe:2: an image under another name is not supported"),
        (["kernel --name"], "netboot.ipxe:2: kernel names no file"),
        (["kernel kernel #x", "initrd"], "netboot.ipxe:3: initrd names no file\n  initrd"),
        (["kernel kernel && boot"], "netboot.ipxe:2: conditions are not supported"),
        (
            ["kernel kernel", "echo a \\", "b", "bad"],
            "netboot.ipxe:5: the command bad is not supported: kern",
        ),
        (["kernel kernel", "boot", "dhcp", "initrd initrd"], "netboot.ipxe:5: a command stands after boot"),
        (["kernel kernel", "boot x"], "netboot.ipxe:3: boot with arguments is not supported\n  boot x"),
    ],
)
def test_errors_hold_the_line_and_its_number(lines: list[str], message: str) -> None:
    with pytest.raises(BootEntryError) as caught:
        parse(*lines)
    assert caught.value.message.startswith(message)


def test_a_script_of_the_greatest_size() -> None:
    script = b"#!ipxe\nkernel kernel\nboot\n"
    assert parse_boot_entry(script.ljust(65536, b"\n"), FILES).kernel == "kernel"
    with pytest.raises(BootEntryError, match=r"^netboot.ipxe: larger than 65536 bytes: no boot script$"):
        parse_boot_entry(script.ljust(65537, b"\n"), FILES)


@pytest.mark.parametrize("name", ["bzImage", "Image", "zImage", "vmlinuz", "vmlinux"])
def test_the_kernel_may_have_nixos_name_for_it(name: str) -> None:
    assert parse(f"kernel {name}", "boot").kernel == "kernel"
    # A file of that very name goes before.
    script = f"#!ipxe\nkernel {name}\nboot".encode()
    assert parse_boot_entry(script, (*FILES, name)).kernel == name
    with pytest.raises(BootEntryError, match="is not in the release"):
        parse("kernel kernel", f"initrd {name}", "boot")


@pytest.mark.parametrize("option", ["--name=kernel", "-nkernel", "-n kernel", "--name kernel"])
def test_a_name_that_says_what_ipxe_would_say(option: str) -> None:
    assert parse(f"kernel {option} kernel", "boot").kernel == "kernel"


def test_a_letters_value_follows_it_at_once() -> None:
    """To iPXE, ``-n=kernel`` names the image "=kernel" (src/core/getopt.c)."""
    with pytest.raises(BootEntryError, match="under another name"):
        parse("kernel -n=kernel kernel", "boot")
