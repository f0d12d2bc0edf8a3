"""What is read of an answer: once, and with a note for what cannot be."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from support.pxe_messages import OTHER, PROXY, ROUTER, answer, lease, menu, proxy

from ectools.netboot.probe.simulate.contents import ContentKind
from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.simulate.requested_file import RequestedFile, Role
from ectools.netboot.probe.wire.dhcp import Option
from ectools.netboot.probe.wire.pxe_option43 import PxeOption43


def test_option_43_is_parsed_once() -> None:
    found = proxy(options=menu((0x8000, "EC", PROXY)))
    assert found.option43.has_discovery
    assert found.option43 is found.option43
    # The same message heard again is the same answer.
    assert found == proxy(options=menu((0x8000, "EC", PROXY)))


def test_option_43_of_another_vendor_is_none_of_pxe() -> None:
    options = {**menu((0x8000, "EC", PROXY)), Option.VENDOR_CLASS: b"HTTPClient"}
    assert answer(PROXY, options=options).option43 == PxeOption43()


def test_what_cannot_be_read_of_either_is_noted() -> None:
    found = proxy(options={Option.VENDOR: b"\x06\x05"}, notes=("options: option 12 is cut off",))
    assert found.notes == ("options: option 12 is cut off", "option 43: option 6 is cut off")


@pytest.mark.parametrize(
    ("area", "priority", "forbids"),
    [
        (b"", 0, False),
        (b"\x01\x01\x05", 5, False),
        (b"\x01\x01\xff\xb0\x01\x01", -1, True),
        (b"\xb0\x01\x00", 0, False),
        (b"\xb0\x00\x01\x00", 0, False),
        (b"\xb0\x02\x00\x01", 0, False),
        (b"\x01\x05", 0, False),
    ],
)
def test_ipxe_s_own_options(area: bytes, priority: int, forbids: bool) -> None:
    found = lease(options={Option.IPXE: area})
    assert (found.ipxe_priority, found.forbids_proxy) == (priority, forbids)


def test_who_it_says_it_is_and_who_serves_files() -> None:
    assert lease().server == ROUTER
    assert lease(options={Option.SERVER_ID: OTHER.packed}).server == OTHER
    assert lease(options={Option.SERVER_ID: b""}).server == ROUTER
    assert lease(siaddr=PROXY).boot_server == PROXY
    assert lease(siaddr=IPv4Address(0)).boot_server == ROUTER
    assert (lease().is_proxy, proxy().is_proxy) == (False, True)


def test_a_file_that_several_load_is_looked_into_once() -> None:
    fetched = Fetched(uri="tftp://a/b", state=FetchState.FOUND, head=b"#!ipxe\n", whole=True)
    program, script = (RequestedFile(role=role, fetched=fetched) for role in (Role.PROGRAM, Role.SCRIPT))
    assert program.contents is script.contents
    assert program.contents is not None
    assert program.contents.kind is ContentKind.SCRIPT
    assert fetched.binary is fetched.binary


@pytest.mark.parametrize("state", [state for state in FetchState if state is not FetchState.FOUND])
def test_what_was_not_found_is_nothing(state: FetchState) -> None:
    # Not even where the server sent a page that says so.
    file = RequestedFile(role=Role.FILE, fetched=Fetched(uri="http://a/b", state=state, head=b"<html>"))
    assert (file.found, file.contents, file.is_unreadable) == (False, None, False)


@pytest.mark.parametrize(("head", "unreadable"), [(b"", True), (b"<html>", True), (b"#!ipxe\n", False)])
def test_what_was_found_and_cannot_be_run(head: bytes, unreadable: bool) -> None:
    file = RequestedFile(role=Role.FILE, fetched=Fetched(uri="http://a/b", state=FetchState.FOUND, head=head))
    assert (file.found, file.is_unreadable) == (True, unreadable)
