"""Nodes that boot, from DHCPDISCOVER to the report that they are up: many of them in one process.

    boot_nodes.py JSON         the fields of ``Plan``; prints one JSON object

After the first stage each node fetches its script, and what that says, over HTTP, each file on a connection
of its own; then it reports as its behaviour has it. ``booted`` in the figures is the end of the initrd,
``done`` of all. A node that does not get one of these has given up.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import sys
import time

from conversation import HttpRequest, build_script_path, choose_behaviour, list_requests
from first_stage import FirstStage
from node_loop import Node, Plan

HTTP_STALL_SECONDS = 60.0
SINK = bytearray(1 << 20)


def build_http_request(request: HttpRequest) -> bytes:
    head = ["Host: boot", "Connection: close"]
    if request.body is None:
        return "\r\n".join([f"GET {request.path} HTTP/1.1", *head, "", ""]).encode()
    head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(request.body)}"]
    return "\r\n".join([f"POST {request.path} HTTP/1.1", *head, "", ""]).encode() + request.body


class Storm(FirstStage):
    def begin_script(self, node: Node) -> None:
        path = build_script_path(node.mac, node.number)
        node.steps = iter([HttpRequest(what="script", path=path)])
        self.fetch(node)

    def fetch(self, node: Node) -> None:
        self.close(node)
        request = next(node.steps, None)
        if request is None:
            self.passed(node, "done")
            self.end(node)
            return
        node.what, node.tries = request.what, 1
        client = node.socket = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
        client.bind((node.ip, 0))
        node.request = build_http_request(request)
        node.head, node.length, node.got, node.is_http = None, -1, 0, True
        error = client.connect_ex((self.plan.proxy, self.plan.http_port))
        if error not in (0, errno.EINPROGRESS):
            self.give_up(node, f"{node.what}: {errno.errorcode[error]}")
            return
        self.by_descriptor[client.fileno()] = node
        self.poll.register(client.fileno(), select.EPOLLOUT)
        self.wait(node, HTTP_STALL_SECONDS, self.give_up)

    def take_http(self, node: Node) -> None:
        client = node.socket
        assert client is not None
        if node.head is None:
            if error := client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(error, errno.errorcode[error])
            client.send(node.request)
            node.head = b""
            self.poll.modify(client.fileno(), select.EPOLLIN)
            return
        if node.length < 0:
            part = client.recv(4096)
            if not part:
                raise OSError(0, "closed before the response")
            node.head += part
            header, end, body = node.head.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 200 " not in header.split(b"\r\n")[0]:
                raise OSError(0, header.split(b"\r\n")[0].decode("latin-1"))
            lengths = [
                line.split(b":")[1]
                for line in header.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            ]
            node.length, node.got = int(lengths[0]), len(body)
            node.script[:] = body
        elif node.what == "script":
            part = client.recv(node.length - node.got)
            if not part:
                raise OSError(0, "closed during the body")
            node.script += part
            node.got += len(part)
        else:
            got = client.recv_into(SINK, len(SINK), socket.MSG_TRUNC)
            if not got:
                raise OSError(0, "closed during the body")
            node.got += got
            node.last = time.monotonic()
        if node.got >= node.length:
            self.take_answer_body(node)

    def take_answer_body(self, node: Node) -> None:
        self.passed(node, node.what)
        if node.what == "script":
            url = f"http://{self.plan.proxy}:{self.plan.http_port}/netboot.ipxe"
            behaviour = choose_behaviour(self.plan.behaviours, node.number)
            try:
                requests = list_requests(bytes(node.script), url, behaviour=behaviour)
            except ValueError as error:
                self.give_up(node, str(error))
                return
            node.steps = iter(requests)
        elif node.what == "initrd":
            self.passed(node, "booted")
        self.fetch(node)

    def step(self, descriptor: int) -> None:
        if descriptor == self.dhcp.fileno():
            self.take_dhcp()
            return
        node = self.by_descriptor.get(descriptor)
        if node is None:
            return
        try:
            if node.is_http:
                self.take_http(node)
            else:
                self.take_block(node)
        except BlockingIOError:
            return
        except OSError as error:
            self.give_up(node, f"{node.what}: {error.strerror or error}")


def main(text: str) -> None:
    storm = Storm(Plan(**json.loads(text)))
    seconds = storm.run()
    quantiles = {
        step: {"p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)], "last": times[-1]}
        for step, times in ((step, sorted(times)) for step, times in storm.seconds.items())
    }
    found = {
        "seconds": seconds,
        "booted": storm.plan.count - sum(storm.gave_up.values()),
        "gave up": storm.gave_up,
        "tries": storm.tries,
        "steps": quantiles,
        "late": storm.late,
        "cpu": time.process_time() / seconds,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
