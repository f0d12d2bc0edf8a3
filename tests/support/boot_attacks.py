"""What a boot server that was taken over does to a running node: honest (hostile_boot) but for one thing."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from support.hostile_boot import NEXT, RUNS, STORE_PATH, BootHost, Publisher, send

from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature.dsse import encode_pae, seal_envelope

FORM = SignatureFormat.OPENSSL
OLD = "sha256-" + "c" * 32


@dataclass
class Case:
    """What an attack may use: the server, the node's state directory, its command line and environment."""

    host: BootHost
    state: Path
    words: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


Attack = Callable[[Case], None]


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
