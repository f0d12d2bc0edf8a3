"""The second stage of machines that boot no release: as it is, and whatever a machine has sent."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.golden import compare
from support.staged import make_release

from ectools.ipxe.language import read_lines, split_commands
from ectools.netboot.boot_files.scripts.checked import ScriptError
from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
from ectools.netboot.boot_files.scripts.identity import build_identity
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.boot_files.scripts.unbooted import (
    build_disk,
    build_hold,
    build_question,
    build_refusal,
)
from ectools.netboot.settings.load import load_netboot_settings

SETTINGS = load_netboot_settings(
    None, flags={"hostname": "192.0.2.10", "protectedFiles": ["netboot.ipxe"]}, environment={}
)
WHY = ["nuc-07 (mac 02:00:00:12:34:56) is held"]


def test_the_scripts_as_they_are() -> None:
    compare("netboot/hold.netboot.ipxe", build_hold(SETTINGS, None, why=WHY))
    compare("netboot/hold-token.netboot.ipxe", build_hold(SETTINGS, "t0k/en", why=WHY))
    compare("netboot/refusal.netboot.ipxe", build_refusal(why=WHY))
    compare("netboot/disk.netboot.ipxe", build_disk(why=WHY))
    compare("netboot/question.netboot.ipxe", build_question(SETTINGS, None))


@pytest.mark.parametrize("token", [None, "t0k/en"])
def test_whoever_asks_says_who_it_is(token: str | None) -> None:
    """Over the NIC in turn, and with a token beside it."""
    first = build_autoexec(SETTINGS, token)
    assert f"?{build_identity('${ec-nic}')}" in first
    assert ("&token=" in first) is (token is not None)
    for script in (build_hold(SETTINGS, token, why=WHY), build_question(SETTINGS, token)):
        assert f"?{build_identity('netX')}" in script
        assert ("&token=" in script) is (token is not None)


def test_no_token_is_sent_for_a_script_that_needs_none() -> None:
    flags = {"hostname": "192.0.2.10", "protectedFiles": ["initrd"]}
    settings = load_netboot_settings(None, flags=flags, environment={})
    assert "token=" not in build_hold(settings, "t0ken", why=WHY)


TEXTS = st.lists(st.sampled_from(["||", "&&", ";", "#x", "${ec-x}", "a\nshell", "\\", "é", "x"]) | st.text())


@given(TEXTS.map(" ".join))
@example("S" * 255)
def test_what_a_machine_has_sent_is_shown_and_never_run(text: str) -> None:
    """A line more or a command more would be the machine's own, on every screen that shows it."""
    empty = build_refusal(why=["x"])
    script = build_refusal(why=[text])
    script.encode("ascii")
    lines, expected = list(read_lines(script)), list(read_lines(empty))
    assert len(lines) == len(expected)
    for line, other in zip(lines, expected, strict=True):
        commands = [[words[:1] for _, words in split_commands(each.words)] for each in (line, other)]
        assert commands[0] == commands[1]
    assert "${" not in "".join(line.text for line in lines if line.words[:1] == ("echo",))


def test_a_node_has_its_own_system_and_arguments() -> None:
    release = make_release()
    script = build_netboot(
        SETTINGS, release, None, system="release", arguments=("isolcpus=3", "x=${cmdline}"), title="nuc-07"
    )
    assert "imgargs bzImage init=/nix/store/e-nixos/init initrd=initrd loglevel=4 ${cmdline}" in script
    assert "${cmdline} isolcpus=3 x=${cmdline}\n" in script
    assert f"echo every.channel: nuc-07: starting {release.id}\n" in script


def test_a_system_that_the_release_does_not_have() -> None:
    with pytest.raises(ScriptError, match="has no system other: it has release"):
        build_netboot(SETTINGS, make_release(), None, system="other")


@pytest.mark.parametrize("argument", ["a b", "||", "${ec-nic}", "x\\"])
def test_an_argument_that_cannot_stand_in_a_script(argument: str) -> None:
    with pytest.raises(ScriptError):
        build_netboot(SETTINGS, make_release(), None, arguments=(argument,))
