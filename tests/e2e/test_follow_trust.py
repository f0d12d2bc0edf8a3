"""A boot server that was taken over, and a node that runs: whatever it says, the node stays as it is.

Each case is an honest server (hostile_boot) but for one thing. The node may start another kernel, and not
reboot: a cold boot proves nothing. What it does where all is well is in test_follow_kexec.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
from support.boot_http import wait_until
from support.hostile_boot import (
    NEXT,
    NEXT_TOKEN,
    RUNS,
    TOKEN,
    BootHost,
    Publisher,
    follow,
    send,
    serve,
)
from support.needs import give_up, require_tool

from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature.dsse import encode_pae, seal_envelope

STORE_PATH = "/nix/store/" + "r" * 32 + "-runs"
OLD = "sha256-" + "c" * 32
STATEMENT, STATEMENT_SIGNATURE = (f"/releases/{NEXT}/boot-statement.txt{end}" for end in ("", ".sig"))
KERNEL, INITRD = f"/releases/{NEXT}/bzImage", f"/releases/{NEXT}/initrd"


@dataclass
class Case:
    """What an attack may use: the server, the node's state directory, its command line and environment."""

    host: BootHost
    state: Path
    words: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


Attack = Callable[[Case], None]


@pytest.fixture(autouse=True)
def _needs() -> None:
    for tool in ("curl", "openssl", "minisign", "ssh-keygen"):
        require_tool(tool, f"install {tool}")


def answer(path: str, body: bytes | Callable[..., None]) -> Attack:
    return lambda case: case.host.answers.update({path: body})


def drop(path: str) -> Attack:
    return lambda case: case.host.answers.pop(path) and None


def state(change: Callable[[Case], tuple[bytes, bytes | None]], *, at: str = NEXT) -> Attack:
    """Another statement and signature of a release."""
    return lambda case: case.host.state(*change(case), at=at)


def build(**fields: object) -> Attack:
    """A release that is signed, and is to be refused all the same."""

    def attack(case: Case) -> None:
        host = case.host
        host.then = replace(host.then, **fields)  # type: ignore[arg-type]
        host.put(host.then)
        host.answers["/channels/stable"] = host.publisher.point(host.then.tag)

    return attack


def point(**fields: object) -> Attack:
    """Another pointer, signed."""
    return lambda case: case.host.answers.update(
        {"/channels/stable": case.host.publisher.point(**{"tag": case.host.then.tag, **fields})}  # type: ignore[arg-type]
    )


def argue(*arguments: str) -> Attack:
    return lambda case: case.host.extra.extend(arguments)


def edit_next(change: Callable[[str], str], *, takes: bool | None = None) -> Attack:
    """Another answer of what to start: of the question, of the taking, or both."""

    def attack(case: Case) -> None:
        def respond(handler: object) -> None:
            taken = case.host.asked[-1].endswith("?take")
            text = case.host.list_next(takes=taken).decode("latin-1")
            send(handler, (change(text) if takes in (None, taken) else text).encode("latin-1"))  # type: ignore[arg-type]

        case.host.answers["/next"] = respond

    return attack


def redirect(path: str) -> Attack:
    """To where the right one lies, which a client that follows would take."""

    def attack(case: Case) -> None:
        case.host.answers["/elsewhere"] = case.host.answers[path]
        case.host.answers[path] = partial(
            send, body=b"", status="302 Found", fields=("Location: /elsewhere",)
        )

    return attack


def wrap(path: str, status: str = "200 OK", fields: tuple[str, ...] = (), **options: int) -> Attack:
    """The right body, in another answer."""

    def attack(case: Case) -> None:
        body = case.host.answers[path]
        case.host.answers[path] = partial(send, body=body, status=status, fields=fields, **options)

    return attack


def pour(handler: object) -> None:
    """More than anybody asked for, in chunks, for ever."""
    write = handler.wfile.write  # type: ignore[attr-defined]
    write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(1 << 12):
        write(chunk)


def hang(handler: object) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nevery")  # type: ignore[attr-defined]
    time.sleep(5)


def sign_other(case: Case) -> tuple[bytes, bytes]:
    statement = case.host.then.state()
    return statement, Publisher().sign(statement)


def sign_sums(case: Case) -> tuple[bytes, bytes]:
    sums = b"0" * 64 + b"  ec-runner-x86_64-netboot-boot-v2026.03.09.tar.gz\n"
    return sums, case.host.publisher.sign(sums)


def sign_pointer(case: Case) -> tuple[bytes, bytes]:
    """A channel's pointer, as it is signed, in a statement's place."""
    envelope = case.host.answers["/channels/stable"]
    assert isinstance(envelope, bytes)
    raw = json.loads(envelope)
    return encode_pae(raw["payloadType"], base64.b64decode(raw["payload"])), base64.b64decode(
        raw["signatures"][0]["sig"]
    )


def sign_with(change: Callable[[bytes], bytes]) -> Callable[[Case], tuple[bytes, bytes]]:
    """A statement that is changed once it is signed."""

    def make(case: Case) -> tuple[bytes, bytes]:
        statement = case.host.then.state()
        return change(statement), case.host.publisher.sign(statement)

    return make


def lead_back(case: Case) -> None:
    """To a release that was signed, and is older than what runs."""
    host = case.host
    host.then = replace(host.then, id=OLD, tag="boot-v2026.01.01", counter=1767225600)
    host.put(host.then)
    host.assignment["release"] = OLD
    host.answers["/channels/stable"] = host.publisher.point(host.then.tag)


def lower_own(case: Case) -> None:
    """An older statement, signed, for what runs: so that what is to come would be newer."""
    older = replace(
        case.host.now, tag="boot-v2025.01.01", counter=1, store_path="/nix/store/" + "o" * 32 + "-o"
    )
    case.host.put(older, at=RUNS)


def release_again(case: Case, *, at: str = OLD, **pointed: object) -> None:
    """What runs was released before it, too: that one is named, and the way leads to one in between."""
    host = case.host
    first = replace(host.now, id=OLD, tag="boot-v2026.01.01", counter=1767225600)
    host.put(first, at=at)
    host.assignment["runs"] = at
    host.then = replace(host.then, tag="boot-v2026.02.01", counter=1769904000)
    host.put(host.then)
    host.answers["/channels/stable"] = host.publisher.point(host.then.tag, **pointed)


def start_by_kexec(case: Case) -> None:
    """The kernel that runs was started by a system that knew which release it comes with."""
    case.words.append(f"every_channel.release_counter={case.host.now.counter}")


def start_again(case: Case) -> None:
    """The service is started again, and has learned before what runs."""
    now = case.host.now
    lines = [
        f"/nix/store/{'o' * 32}-other 1 boot-v1 x",
        f"{STORE_PATH} {now.counter} {now.tag} {now.system}",
    ]
    (case.state / "releases").write_text("\n".join(lines) + "\n")


def both(*attacks: Attack) -> Attack:
    return lambda case: [attack(case) for attack in attacks] and None


def seal_statement(case: Case) -> None:
    """A statement, whose signature is right, in the place of a pointer."""
    statement = case.host.then.state()
    envelope = json.loads(seal_envelope("x", statement, form=FORM, private_key=case.host.publisher.private))
    envelope["payloadType"] = "application/vnd.every-channel.netboot-channel+json"
    envelope["signatures"] = [{"sig": base64.b64encode(case.host.publisher.sign(statement)).decode()}]
    case.host.answers["/channels/stable"] = json.dumps(envelope).encode()


def double_payload(case: Case) -> None:
    envelope = case.host.answers["/channels/stable"]
    other = Publisher().point("boot-v2026.09.09", counter=99)
    assert isinstance(envelope, bytes)
    payload = json.loads(other)["payload"]
    case.host.answers["/channels/stable"] = b'{"payload": "' + payload.encode() + b'", ' + envelope[1:]


def swap(path: str, kind: str) -> Attack:
    """The one of the release that runs, by whose hash the server gives it too."""
    return lambda case: case.host.answers.update({path: getattr(case.host.now, kind)})


def lie(path: str, change: Callable[[bytes], bytes]) -> Attack:
    """Other bytes than the server itself says, which says what was signed."""

    def attack(case: Case) -> None:
        question, taken = (case.host.list_next(takes=takes) for takes in (False, True))
        edit_next(lambda _: question.decode(), takes=False)(case)
        body = case.host.answers[path]
        assert isinstance(body, bytes)
        del taken
        case.host.answers[path] = change(body)

    return attack


def link_state(case: Case) -> None:
    case.state.rename(case.state.with_name("elsewhere"))
    case.state.symlink_to("elsewhere")


def open_state(case: Case) -> None:
    case.state.chmod(0o777)


def change_files(case: Case) -> None:
    """Whoever may write to the files that were checked does so, before they are loaded."""
    program = case.state.parent / "evil"
    program.write_text(f'#!/bin/sh\necho evil | tee "{case.state}"/kexec.*/kernel\n')
    program.chmod(0o755)
    case.environment["FOLLOW_UNITS"] = "evil.service"


FORM = SignatureFormat.OPENSSL
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


def test_what_a_node_has_learned_of_itself_outlives_its_service(tmp_path: Path) -> None:
    """A boot server that was honest once names an older release of the same system later on."""
    case = Case(BootHost(publisher=Publisher(FORM), store_path=STORE_PATH), tmp_path / "n/state")
    host = case.host
    honest = host.assignment["release"]
    host.assignment["release"] = RUNS
    known = case.state / "releases"
    with serve(host), follow(tmp_path / "n", host) as node:
        wait_until(known.exists, "it learns what runs")
        wait_until(lambda: host.asked.count("/assignment") > 2, "it asks again")
        assert host.asked.count(f"/releases/{RUNS}/boot-statement.txt") == 1
        # While it runs, and once it was started again.
        release_again(case)
        host.assignment["release"] = honest
        wait_until(lambda: "no newer than boot-v2026.03.02" in node.out, "it stays")
        assert f"{STORE_PATH} {host.now.counter} {host.now.tag} {host.now.system}\n" == known.read_text()
    (tmp_path / "n/out").unlink()
    with serve(host), follow(tmp_path / "n", host) as node:
        wait_until(lambda: "no newer than boot-v2026.03.02" in node.out, "it stays")
        assert (node.systemctl, node.kexec) == ([], [])


def test_the_newest_release_that_is_seen_of_what_runs_counts(tmp_path: Path) -> None:
    """An older one that is named first is no more than that."""
    case = Case(BootHost(publisher=Publisher(FORM), store_path=STORE_PATH), tmp_path / "n/state")
    release_again(case)
    host, known = case.host, case.state / "releases"
    wanted, host.assignment["release"] = host.assignment["release"], OLD
    with serve(host), follow(tmp_path / "n", host) as node:
        wait_until(known.exists, "it learns what runs")
        host.assignment.update(runs=RUNS)
        wait_until(lambda: host.now.tag in known.read_text(), "it learns what runs")
        host.assignment.update(runs=OLD, release=wanted)
        wait_until(lambda: "no newer than boot-v2026.03.02" in node.out, "it stays")


def test_a_system_on_a_disk_is_the_newest_releases_that_has_it(tmp_path: Path) -> None:
    """Nobody boots for a release that has the very system; the next boot knows of it too."""
    store = Path("/nix/store")
    found = sorted(store.glob("?" * 32 + "-*")) if store.is_dir() else []
    if not found:
        give_up("there is no path in /nix/store")
    case = Case(BootHost(publisher=Publisher(FORM), store_path=str(found[0])), tmp_path / "n/state")
    release_again(case)
    host, known = case.host, tmp_path / "n/disk/releases"
    wanted = host.assignment["release"]
    host.assignment |= {"boot": "disk", "cache": f"{host.url or 'http://h'}/cache"}
    host.assignment |= {"release": RUNS, "installed": str(found[0])}
    with serve(host), follow(tmp_path / "n", host, from_disk=True) as node:
        wait_until(lambda: known.exists() and host.now.tag in known.read_text(), "it learns what runs")
        assert known.read_text().count("\n") == 1
    host.assignment |= {"release": wanted, "installed": host.then.store_path}
    with serve(host), follow(tmp_path / "n", host, from_disk=True) as node:
        wait_until(lambda: "no newer than boot-v2026.03.02" in node.out, f"it stays: {node.out}")
        assert node.systemctl == []


def test_a_counter_that_cannot_be_kept_leads_nowhere(tmp_path: Path) -> None:
    case = Case(BootHost(publisher=Publisher(FORM), store_path=STORE_PATH), tmp_path / "n/state")
    (case.state / "counter").mkdir(parents=True)
    case.state.chmod(0o700)
    with serve(case.host) as host, follow(tmp_path / "n", host) as node:
        wait_until(lambda: "the counter of the channel stable cannot be kept" in node.out, "it says so")
        assert (node.systemctl, node.kexec) == ([], [])
        assert "what was seen of the channel stable is not known" in node.out
        assert [each.name for each in case.state.glob("counter*")] == ["counter"]


def test_a_counter_is_never_half_written(tmp_path: Path) -> None:
    """The file that was there is as it was, whoever still has it: another one took its place."""
    case = Case(BootHost(publisher=Publisher(FORM), store_path=STORE_PATH), tmp_path / "n/state")
    case.state.mkdir(parents=True, mode=0o700)
    (case.state / "counter").write_text("40\n")
    os.link(case.state / "counter", tmp_path / "before")
    with serve(case.host) as host, follow(tmp_path / "n", host) as node:
        wait_until(lambda: node.systemctl == ["kexec"], f"it boots again: {node.out}")
    assert (tmp_path / "before").read_text() == "40\n"
    assert (case.state / "counter").read_text() == "50\n"


def test_what_its_publisher_has_withdrawn_is_left_for_an_older_one(tmp_path: Path) -> None:
    """So that there is a way back, which the publisher opens, and not the boot server."""
    case = Case(BootHost(publisher=Publisher(FORM), store_path=STORE_PATH), tmp_path / "n/state")
    lead_back(case)
    point(tag="boot-v2026.01.01", counter=60, withdrawn=("boot-v2026.03.02",))(case)
    with serve(case.host) as host, follow(tmp_path / "n", host) as node:
        wait_until(lambda: node.systemctl == ["kexec"], "it goes back")
        assert "every_channel.channel_counter=60" in node.kexec[0]
    assert os.path.isdir(tmp_path)
