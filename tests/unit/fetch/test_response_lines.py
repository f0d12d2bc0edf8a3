"""A bound on the lines around an answer's content, which http.client reads without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import urllib3
from urllib3.exceptions import HTTPError

from ectools.fetch.response_lines import bound_lines

if TYPE_CHECKING:
    from support.forge import Answer, Forge, Request


def fetch(forge: Forge, answer: Answer) -> bytes:
    forge.answers["/file"] = [answer]
    manager = bound_lines(urllib3.PoolManager(retries=False, timeout=60))
    return manager.request("GET", f"{forge.url}/file").data


def chunks(count: int, size: int) -> Answer:
    """An answer in so many chunks of such a size; with its head of six lines."""

    def answer(request: Request) -> None:
        request.start(200, None, {"Transfer-Encoding": "chunked"})
        request.wfile.write((b"%x\r\n%s\r\n" % (size, b"x" * size)) * count + b"0\r\n\r\n")

    return answer


def test_chunks_of_sixteen_bytes_are_no_harm_and_smaller_ones_are(forge: Forge) -> None:
    # Counted with the end of the line that stands after each.
    assert len(fetch(forge, chunks(20_000, 14))) == 280_000
    with pytest.raises(HTTPError, match=r"\d{5} lines around \d+ bytes of content"):
        fetch(forge, chunks(20_000, 13))


@pytest.mark.parametrize(("lines", "fails"), [(993, False), (994, True)])
def test_a_thousand_lines_are_free(lines: int, fails: bool, forge: Forge) -> None:
    def answer(request: Request) -> None:
        # Seven more: the status, Server, Date, Transfer-Encoding, an empty line; the last chunk, an end.
        request.start(200, None, {"Transfer-Encoding": "chunked"})
        request.wfile.write(b"0\r\n" + b"a: b\r\n" * lines + b"\r\n")

    if fails:
        with pytest.raises(HTTPError, match="1001 lines around 0 bytes of content"):
            fetch(forge, answer)
    else:
        assert fetch(forge, answer) == b""
