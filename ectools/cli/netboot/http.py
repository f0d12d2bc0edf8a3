"""``ectools netboot http``: serve one directory."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ectools.cli.log_format import log_format_option, use_log_format
from ectools.cli.param_types import Seconds


@click.command(epilog="Example: ectools netboot http --root ./boot --bind-ip 0.0.0.0 --port 8080")
@click.option(
    "--root", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The directory to serve."
)
@click.option("--bind-ip", metavar="IP", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, metavar="N", help="Port to listen on; 0 takes a free one.  [default: 8080]")
@click.option(
    "--listen-fd",
    type=click.IntRange(min=0),
    metavar="FD",
    help="A bound and listening TCP socket passed by the parent, in place of --bind-ip and --port.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    metavar="N",
    help="Connections served at once; one more is answered 503 with Retry-After.",
)
@click.option(
    "--header-seconds",
    type=Seconds(min=0.1),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Time for a request's header to arrive, and for a kept-alive connection to send its next one.",
)
@click.option(
    "--stall-seconds",
    type=Seconds(min=0.1),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Time after which a client that takes nothing of its download is dropped.",
)
@click.option(
    "--drain-seconds",
    type=Seconds(min=0),
    default=30.0,
    show_default=True,
    metavar="S",
    help="On SIGTERM or SIGINT, time for downloads in flight to end.",
)
@log_format_option
@click.option("--json", "as_json", is_flag=True, help="When ready, print {url, ip, port} on standard output.")
def http(
    *,
    root: Path,
    bind_ip: str | None,
    port: int | None,
    listen_fd: int | None,
    max_connections: int,
    header_seconds: float,
    stall_seconds: float,
    drain_seconds: float,
    log_format: str,
    as_json: bool,
) -> None:
    """Serve the files of one directory over HTTP, until SIGTERM or SIGINT.

    Root becomes the user that the directory belongs to.
    """
    if listen_fd is not None and (bind_ip is not None or port is not None):
        raise click.UsageError("--listen-fd takes the place of --bind-ip and --port: give one or the other")
    import asyncio
    import os
    import signal

    from ectools.capabilities import Capability
    from ectools.netboot.http.listen import adopt_listener, bind_listener, format_address
    from ectools.netboot.http.server import serve
    from ectools.netboot.http.settings import HttpSettings
    from ectools.privileges import limit_to_user, work_as_directory_user

    use_log_format(log_format)
    settings = HttpSettings(
        root=root,
        max_connections=max_connections,
        header_seconds=header_seconds,
        stall_seconds=stall_seconds,
        drain_seconds=drain_seconds,
    )

    def announce(ip: str, bound_port: int) -> None:
        if as_json:
            url = f"http://{format_address(ip, bound_port)}/"
            click.echo(json.dumps({"url": url, "ip": ip, "port": bound_port}))

    listener = (
        adopt_listener(listen_fd)
        if listen_fd is not None
        else bind_listener(bind_ip or "127.0.0.1", 8080 if port is None else port)
    )

    # Its modules are loaded when they are needed, and may be below /root.
    work_as_directory_user(root, keep=(Capability.DAC_READ_SEARCH,))
    if os.geteuid() != 0:
        # What it took to come so far: it serves with the rights of its user.
        limit_to_user()

    async def run() -> None:
        await serve(settings, listener=listener, on_ready=announce)
        for number in (signal.SIGTERM, signal.SIGINT):
            # It has stopped well: one more signal must not make that a death by signal on the last metres.
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    # The loop is named, because a policy that somebody installed (uvloop's) would choose another.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(run())


COMMAND = http
