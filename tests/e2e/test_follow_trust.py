"""A boot server that was taken over, and a node that runs: whatever it says, the node stays as it is.

Each case is an honest server but for one thing (boot_attacks). The node may start another kernel, and not
reboot: a cold boot proves nothing. What it does where all is well is in test_follow_kexec, what it
remembers in test_follow_learned.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.boot_attacks import (
    FORM,
    OLD,
    Attack,
    Case,
    answer,
    argue,
    both,
    build,
    change_files,
    double_payload,
    drop,
    edit_next,
    hang,
    lead_back,
    lie,
    link_state,
    lower_own,
    open_state,
    point,
    pour,
    redirect,
    release_again,
    seal_statement,
    sign_other,
    sign_pointer,
    sign_sums,
    sign_with,
    start_again,
    start_by_kexec,
    state,
    swap,
    wrap,
)
from support.boot_http import wait_until
from support.hostile_boot import (
    NEXT,
    NEXT_TOKEN,
    RUNS,
    STORE_PATH,
    TOKEN,
    BootHost,
    Publisher,
    follow,
    require_node_programs,
    serve,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STATEMENT, STATEMENT_SIGNATURE = (f"/releases/{NEXT}/boot-statement.txt{end}" for end in ("", ".sig"))
KERNEL, INITRD = f"/releases/{NEXT}/bzImage", f"/releases/{NEXT}/initrd"


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_node_programs()


CAME_WITH_NEWER = "what runs here came with a newer release: this node goes to no other"
NO_STATEMENT = "no statement of a boot that is understood"
UNSIGNED = "is not signed by a key that this system has"
NOT_UNDERSTOOD = "none that is understood here"
NEITHER = "neither signed nor allowed"
NOTHING_SAID = "does not say what to start"
OTHER_FILES = "other files than were signed"
ATTACKS: Mapping[str, tuple[Attack, str]] = {
    "no signature": (state(lambda case: (case.host.then.state(), None)), "no signed statement"),
    "an empty signature": (state(lambda case: (case.host.then.state(), b"")), UNSIGNED),
    "another key": (state(sign_other), UNSIGNED),
    "the signature of another file": (
        state(lambda case: (case.host.then.state(), case.host.publisher.sign(case.host.now.state()))),
        UNSIGNED,
    ),
    "signed sums for a statement": (state(sign_sums), NO_STATEMENT),
    "a signed pointer for a statement": (state(sign_pointer), NO_STATEMENT),
    "something after what was signed": (
        state(sign_with(lambda text: text + b"argument init=/bin/sh\n")),
        UNSIGNED,
    ),
    "something left out of what was signed": (state(sign_with(lambda text: text[:-20])), UNSIGNED),
    "a key in another format": (
        lambda case: case.environment.update(FOLLOW_SIGNATURE="minisign"),
        "no signed statement",
    ),
    "a statement that goes on for ever": (answer(STATEMENT, pour), "no signed statement"),
    "a statement that does not come": (answer(STATEMENT, hang), "no signed statement"),
    "a statement elsewhere": (redirect(STATEMENT), "no signed statement"),
    "a part of a statement": (wrap(STATEMENT, "206 Partial Content"), "no signed statement"),
    "another machine's": (build(architecture="riscv64"), "is signed for another machine"),
    "another system": (build(system="ec-forge-x86_64-netboot"), "is signed as the system"),
    "an older release": (lead_back, "no newer"),
    "one as old": (build(counter=1772409600), "no newer"),
    "an older statement of what runs": (lower_own, "not what runs here"),
    "an earlier release of what runs, after kexec": (both(start_by_kexec, release_again), CAME_WITH_NEWER),
    "an earlier release of what runs, by its own name": (
        both(start_by_kexec, partial(release_again, at=RUNS)),
        CAME_WITH_NEWER,
    ),
    "an earlier release of what runs, after a restart": (both(start_again, release_again), "no newer than"),
    "an earlier release of what runs, which was withdrawn": (
        both(start_again, partial(release_again, withdrawn=("boot-v2026.01.01",))),
        "no newer than",
    ),
    "another system's release with what runs": (
        both(
            start_again,
            lambda case: case.host.put(
                replace(case.host.now, id=OLD, system="ec-forge-x86_64-netboot", counter=1772409601)
            ),
            lambda case: case.host.assignment.update(runs=OLD),
            build(system="ec-forge-x86_64-netboot"),
        ),
        "is signed as the system",
    ),
    "no statement of what runs": (drop(f"/releases/{RUNS}/boot-statement.txt"), "goes to no other release"),
    "no pointer": (drop("/channels/stable"), "no signed pointer"),
    "a pointer by another key": (
        lambda case: case.host.answers.update({"/channels/stable": Publisher().point(case.host.then.tag)}),
        UNSIGNED,
    ),
    "a pointer as it was": (
        lambda case: case.words.append("every_channel.channel_counter=51"),
        "is shown as it was",
    ),
    "a pointer as it was before a restart": (
        lambda case: (case.state / "counter").write_text("51\n") and None,
        "is shown as it was",
    ),
    "a pointer that has expired": (point(expires_at=1_700_000_000), "has expired"),
    "another channel's pointer": (point(channel="canary"), "is shown as stable"),
    "a release that the channel does not lead to": (point(tag="boot-v2026.03.05"), "leads to"),
    "a release that was withdrawn": (point(withdrawn=("boot-v1", "boot-v2026.03.09")), "was withdrawn"),
    "a statement for a pointer": (seal_statement, UNSIGNED),
    "two payloads in a pointer": (double_payload, NOT_UNDERSTOOD),
    "a pointer with something behind it": (
        lambda case: case.host.answers.update(
            {"/channels/stable": case.host.publisher.point(case.host.then.tag) + b'{"payload": ""}'}
        ),
        NOT_UNDERSTOOD,
    ),
    "the kernel of another release": (swap(KERNEL, "kernel"), OTHER_FILES),
    "the initrd of another release": (swap(INITRD, "initrd"), OTHER_FILES),
    "one more initrd": (
        edit_next(lambda text: re.sub("(?m)^(initrd .*\n)", r"\1\1", text)),
        OTHER_FILES,
    ),
    "no initrd": (edit_next(lambda text: re.sub("(?m)^initrd .*\n", "", text)), NOTHING_SAID),
    "a kernel with other bytes": (lie(KERNEL, lambda body: body[:-1] + b"?"), "WRONG SHA-256"),
    "an initrd with other bytes": (lie(INITRD, lambda body: b"?" + body[1:]), "WRONG SHA-256"),
    "a kernel cut short": (lie(KERNEL, lambda body: body[:-100]), "WRONG SHA-256"),
    "a kernel with more behind it": (lie(KERNEL, lambda body: body + b"more"), "could not be fetched"),
    "a kernel that is compressed": (lie(KERNEL, gzip.compress), "WRONG SHA-256"),
    "a kernel without its end": (wrap(KERNEL, length=1 << 20), "could not be fetched"),
    "a part of a kernel": (wrap(KERNEL, "206 Partial Content"), "could not be fetched"),
    "a kernel elsewhere": (redirect(KERNEL), "could not be fetched"),
    "a kernel without end": (answer(KERNEL, pour), "could not be fetched"),
    "a way out of the release": (
        edit_next(lambda text: text.replace(f"{NEXT}/bzImage", f"{NEXT}/../../etc")),
        NOTHING_SAID,
    ),
    "a file of another release": (
        edit_next(lambda text: text.replace(f"/releases/{NEXT}/bzImage", f"/releases/{RUNS}/bzImage")),
        NOTHING_SAID,
    ),
    "an answer without its end": (edit_next(lambda text: text.removesuffix("end\n")), NOTHING_SAID),
    "something after the end": (edit_next(lambda text: text + "argument init=/bin/sh\n"), NOTHING_SAID),
    "another release when it is taken": (
        edit_next(lambda text: text.replace(f"release {NEXT}", f"release {RUNS}"), takes=True),
        "another release",
    ),
    "other files when it is taken": (
        edit_next(lambda text: re.sub("kernel ..", "kernel ff", text), takes=True),
        "other files than a moment ago",
    ),
    "an argument when it is taken": (
        edit_next(lambda text: text.replace("end\n", "argument rd.break\nend\n"), takes=True),
        NEITHER,
    ),
    "files that were changed once they were checked": (change_files, "has changed since"),
    **{
        f"the argument {each}": (argue(each), NEITHER)
        for each in (
            "init=/bin/sh",
            "rdinit=/bin/sh",
            "rd.break",
            "systemd.unit=rescue.target",
            "systemd.mask=every-channel-follow.service",
            "systemd.debug-shell=1",
            "initcall_blacklist=x",
            "every_channel.install=order",
            "every_channel.channel_counter=1",
            "every_channel.release_counter=1",
            "every_channel.release=sha256-0",
            "every_channel.healthy_within=1e9",
            "every_channel.health_units=$(reboot)",
            "every_channel.store=https://evil.example/store",
            'every_channel.report="http://h/report?boot=x',
        )
    },
    "an argument twice": (
        argue("every_channel.healthy_within=1", "every_channel.healthy_within=2"),
        NEITHER,
    ),
    "a blank in an argument": (argue("quiet init=/bin/sh"), NOTHING_SAID),
    "a tab in an argument": (argue("quiet\tinit=/bin/sh"), NOTHING_SAID),
    "a newline in an argument": (argue("loglevel=4\nargument init=/bin/sh"), NEITHER),
    "a zero in an argument": (
        edit_next(lambda text: text.replace("loglevel=4", "loglevel=4\0init=/bin/sh")),
        NEITHER,
    ),
    "letters of no alphabet": (edit_next(lambda text: text.replace("loglevel", "l\xf6g")), NOTHING_SAID),
    "so many arguments that the last ones are lost": (
        argue(f"every_channel.health_units={'a.service,' * 300}"),
        "too long",
    ),
    "a directory that is a link": (link_state, "no directory of this service's alone"),
    "a directory that others may write to": (open_state, "no directory of this service's alone"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_boot_server_leads_a_running_node_nowhere(tmp_path: Path, name: str) -> None:
    attack, why = ATTACKS[name]
    node_dir = tmp_path / "n"
    node_dir.mkdir()
    case = Case(BootHost(publisher=Publisher(FORM), store_path=STORE_PATH), node_dir / "state")
    case.state.mkdir(mode=0o700)
    case.environment["FOLLOW_ANSWER_SECONDS"] = "1" if "come" in name or "for ever" in name else "20"
    with serve(case.host) as host:
        attack(case)
        with follow(node_dir, host, *case.words, **case.environment) as node:
            if (node_dir / "evil").exists():
                (node_dir / "systemctl").write_text(
                    f'#!/bin/sh\n[ "$1" != start ] || exec "{node_dir}/evil"\n'
                    f'echo "$*" >> "{node_dir}/systemctl-said"\n'
                )
            wait_until(lambda: why in node.out and "every-channel-follow" in node.out, f"it refuses: {why}")
            if "nobody is followed" not in node.out:
                before = host.asked.count("/assignment")
                wait_until(lambda: host.asked.count("/assignment") > before + 1, "it asks again")
            assert (node.systemctl, node.kexec) == ([], []), node.out
            assert TOKEN not in node.out
            assert NEXT_TOKEN not in node.out


def test_there_are_many() -> None:
    assert len(ATTACKS) >= 80
