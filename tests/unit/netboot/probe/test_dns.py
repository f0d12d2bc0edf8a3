"""DNS messages: what is asked, byte by byte, and what is read of whatever a server sends."""

from __future__ import annotations

import contextlib
import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.netboot.probe.wire.dhcp import PacketError
from ectools.netboot.probe.wire.dns import DnsReply, build_query, parse_reply, parse_search_list

NAME, XID = "boot.every.channel", 0x1234
QUESTION = b"\x04boot\x05every\x07channel\0" + b"\0\x01\0\x01"
POINTER = b"\xc0\x0c"
A, CNAME, TXT = 1, 5, 16


def reply(
    *records: bytes, xid: int = XID, flags: int = 0x8180, question: bytes = QUESTION, questions: int = 1
) -> bytes:
    return struct.pack("!6H", xid, flags, questions, len(records), 0, 0) + question + b"".join(records)


def record(kind: int, value: bytes, *, owner: bytes = POINTER, class_: int = 1) -> bytes:
    return owner + struct.pack("!2HIH", kind, class_, 60, len(value)) + value


def read(data: bytes) -> DnsReply | None:
    return parse_reply(data, name=NAME, xid=XID)


def address(last: int) -> bytes:
    return bytes((192, 0, 2, last))


def test_a_question_byte_by_byte() -> None:
    assert build_query(NAME, XID) == b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + QUESTION
    assert build_query(NAME + ".", XID) == build_query(NAME, XID)


@pytest.mark.parametrize("name", ["", ".", "a..b", "ä.test", "a" * 64, ".".join(["a" * 63] * 4)])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    with pytest.raises(PacketError, match="is no host name"):
        build_query(name, XID)


def test_the_longest_names() -> None:
    assert len(build_query(".".join(["a" * 63] * 3 + ["a" * 61]), XID)) == 12 + 255 + 4


def test_addresses_in_their_order() -> None:
    found = read(reply(record(A, address(7)), record(A, address(8))))
    assert found == DnsReply(code=0, addresses=(IPv4Address("192.0.2.7"), IPv4Address("192.0.2.8")))


def test_a_chain_of_aliases_in_any_order() -> None:
    first = record(CNAME, b"\x01a\xc0\x11")
    second = record(CNAME, b"\x01b\0", owner=b"\x01A\x05every\x07channel\0")
    last = record(A, address(9), owner=b"\x01B\0")
    stranger = record(A, address(1), owner=b"\x01c\0")
    for records in ((first, second, last, stranger), (stranger, last, second, first)):
        assert read(reply(*records)) == DnsReply(code=0, addresses=(IPv4Address("192.0.2.9"),), alias="b")
    assert read(reply(first, second)) == DnsReply(code=0, alias="b")


def test_aliases_that_go_round_end() -> None:
    assert read(reply(record(CNAME, POINTER))) is not None


def test_what_is_no_address_is_left_out() -> None:
    others = (
        record(TXT, b"abcd"),
        record(A, b"abc"),
        record(A, address(1), class_=3),
        record(A, address(2), owner=b"\x05other\0"),
    )
    assert read(reply(*others)) == DnsReply(code=0)
    assert read(reply()) == DnsReply(code=0)


@pytest.mark.parametrize("code", [2, 3, 5])
def test_a_response_code(code: int) -> None:
    assert read(reply(flags=0x8180 | code)) == DnsReply(code=code)


@pytest.mark.parametrize(
    "data",
    [
        reply(record(A, address(1)), xid=XID + 1),
        reply(record(A, address(1)), flags=0x0100),
        reply(record(A, address(1)), question=b"\x05other\0\0\x01\0\x01"),
        reply(record(A, address(1)), question=b"", questions=0),
        reply(question=QUESTION * 2, questions=2),
    ],
)
def test_the_reply_to_another_question(data: bytes) -> None:
    assert read(data) is None


def test_a_name_is_the_same_in_capitals() -> None:
    assert read(reply(record(A, address(1)), question=QUESTION.upper())) is not None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes: a DNS message has 12 at least"),
        (reply()[:11], "11 bytes"),
        (reply()[:20], "a DNS name is cut off, or none"),
        (reply(record(A, address(1)))[:-1], "a DNS record is cut off"),
        (reply(record(A, address(1)))[:-5], "a DNS record is cut off"),
        (reply(record(A, address(1), owner=b"\xc0\x2f")), "leads round in a circle"),
        (reply(record(A, address(1), owner=b"\xc0\xff")), "leads round in a circle"),
        (reply(record(A, address(1), owner=b"\x80a")), "a DNS name is cut off, or none"),
        (reply(record(CNAME, b"\xc0")), "a DNS name is cut off, or none"),
    ],
)
def test_what_cannot_be_read(data: bytes, words: str) -> None:
    with pytest.raises(PacketError, match=words):
        read(data)


def test_a_truncated_one_has_nothing() -> None:
    """iPXE has no TCP to ask for the rest by."""
    assert read(reply(record(A, address(1)), flags=0x8380)[:-5]) == DnsReply(code=0)


def test_a_search_list_with_a_pointer() -> None:
    """The example of RFC 3397, section 2, and what is cut off."""
    area = b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04"
    assert parse_search_list(area) == ("eng.apple.com", "marketing.apple.com")
    assert parse_search_list(area[:-1]) == ("eng.apple.com",)
    assert parse_search_list(b"\0") == parse_search_list(b"") == ()


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_reply_or_a_packet_error(data: bytes) -> None:
    for each in (data, reply()[:12] + data, reply(data), reply(*([b""] * 9)) + data):
        with contextlib.suppress(PacketError):
            read(each)
    parse_search_list(data)


_LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)


@given(st.lists(_LABELS, min_size=1, max_size=3), st.integers(0, 0xFFFF))
def test_what_is_asked_for_is_what_a_reply_is_read_by(labels: list[str], xid: int) -> None:
    name = ".".join(labels)
    query = build_query(name, xid)
    answer = query[:2] + b"\x81\x80\0\x01\0\x01\0\0\0\0" + query[12:] + record(A, address(5))
    assert parse_reply(answer, name=name.upper(), xid=xid) == DnsReply(
        code=0, addresses=(IPv4Address("192.0.2.5"),)
    )
    assert parse_reply(query, name=name, xid=xid) is None
