"""The listening socket: which addresses and descriptors are taken, and what is said of the others."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from ectools.errors import InputError
from ectools.netboot.http.listen import (
    BACKLOG,
    ListenError,
    adopt_listener,
    bind_listener,
    format_address,
    plain_address,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_listener_is_bound_and_listens_with_a_long_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    queues: list[int] = []
    listen = socket.socket.listen

    def note(self: socket.socket, length: int) -> None:
        queues.append(length)
        listen(self, length)

    monkeypatch.setattr(socket.socket, "listen", note)
    with closing(bind_listener("127.0.0.1", 0)) as listener:
        assert listener.family == socket.AF_INET
        assert listener.type == socket.SOCK_STREAM
        assert listener.getsockname()[0] == "127.0.0.1"
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        # A server that is started again has its port at once.
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
        assert queues == [BACKLOG] == [4096]


def test_an_ipv6_listener() -> None:
    try:
        listener = bind_listener("::1", 0)
    except ListenError as error:
        pytest.skip(f"no IPv6 here: {error.message}")
    with closing(listener):
        assert listener.family == socket.AF_INET6
        assert listener.getsockname()[0] == "::1"


def fail_to_bind(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def bind(*_: object) -> None:
        raise error

    monkeypatch.setattr(socket.socket, "bind", bind)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EADDRINUSE, "(ss -ltnp 'sport = :8080' names it)"),
        (errno.EADDRNOTAVAIL, "no interface has this address"),
        (errno.EACCES, "CAP_NET_BIND_SERVICE"),
    ],
)
def test_what_to_do_about_an_address_that_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    fail_to_bind(monkeypatch, OSError(number, os.strerror(number)))
    with pytest.raises(ListenError) as caught:
        bind_listener("192.0.2.1", 8080)
    assert caught.value.message == f"192.0.2.1:8080: cannot listen: {os.strerror(number)}"
    assert hint in (caught.value.hint or "")


def test_an_unknown_reason_is_given_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_bind(monkeypatch, OSError("no reason"))
    with pytest.raises(ListenError, match=r"127\.0\.0\.1:65535: cannot listen: no reason") as caught:
        bind_listener("127.0.0.1", 65535)
    assert caught.value.hint is None


def test_a_parents_socket_is_taken_and_not_passed_on() -> None:
    with closing(bind_listener("127.0.0.1", 0)) as parent:
        number = os.dup(parent.fileno())
        os.set_inheritable(number, True)
        with closing(adopt_listener(number)) as adopted:
            assert adopted.fileno() == number
            assert not os.get_inheritable(number)


def test_what_is_no_listening_tcp_socket(tmp_path: Path) -> None:
    expected = "the parent must pass a bound and listening TCP socket, and name its descriptor"
    file = os.open(tmp_path, os.O_RDONLY)
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for number, message in (
        (file, "not a socket"),
        (unix.fileno(), "not a TCP socket"),
        (udp.fileno(), "not a TCP socket"),
        (tcp.fileno(), "the socket is not listening"),
        (1 << 20, "Bad file descriptor"),
    ):
        with pytest.raises(InputError) as caught:
            adopt_listener(number)
        assert caught.value.message == f"--listen-fd {number}: {message}"
        assert caught.value.hint == expected
    os.close(file)
    for each in (unix, udp, tcp):
        os.fstat(each.fileno())  # it is still the parent's
        each.close()


@pytest.mark.parametrize(
    ("ip", "authority"),
    [("10.0.2.2", "10.0.2.2:8080"), ("::1", "[::1]:8080"), ("fe80::1%eth0", "[fe80::1%eth0]:8080")],
)
def test_authorities(ip: str, authority: str) -> None:
    assert format_address(ip, 8080) == authority


@pytest.mark.parametrize(
    ("ip", "plain"),
    [("::ffff:192.0.2.1", "192.0.2.1"), ("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1")],
)
def test_peers(ip: str, plain: str) -> None:
    assert plain_address(ip) == plain
