"""A tracker of boots: what each node has fetched, logged step by step, up to all that it boots from."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ectools import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.http.responses import Delivery
    from ectools.netboot.release.manifest import Release

_log = log.Log(__name__)

# Nodes come and go; of those that came longest ago nothing is known any more.
_MAX_NODES = 4096


@dataclass(kw_only=True)
class _Node:
    """``since``: when it was first seen in this boot. ``have``: what it fetched of ``release``.

    ``name``: in the fleet. ``loaders``: what it has had of a first stage since ``loading_since``, of this
    boot or of the next.
    """

    since: float
    release: str | None = None
    name: str | None = None
    have: set[str] = field(default_factory=set)
    loaders: set[str] = field(default_factory=set)
    loading_since: float = 0.0


class BootTracker:
    """The boots that are under way, by the nodes' addresses. ``clock`` gives seconds that only grow."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._boots: OrderedDict[str, _Node] = OrderedDict()
        self.boots = 0
        """How often a node has fetched everything that it boots from."""

    def first_stage(self, client: str, file: str) -> None:
        """The node got a file of the TFTP directory, over whichever protocol."""
        # TFTP is known by dnsmasq's log alone, which may come after what is asked over HTTP: it ends no boot.
        node = self._find(client)
        if file in node.loaders or not node.loaders:
            node.loaders, node.loading_since = set(), self._clock()
        node.loaders.add(file)

    def script(self, client: str, release: Release, delivery: Delivery, *, node: str | None = None) -> None:
        """The node asked for the second script; ``node`` is its name, where it has one."""
        if not delivery.reached_end:
            return
        known = self._find(client)
        since = known.loading_since if known.loaders else self._clock()
        self._boots[client] = _Node(since=since, release=release.id, name=node)
        named = {} if node is None else {"node": node}
        fields = {"client": client, "release": release.id, "tag": release.tag, **named}
        _log.info("a node has fetched its boot script", **fields)

    def file(self, client: str, release: Release, name: str, delivery: Delivery) -> None:
        """The node asked for a file of a release."""
        system = release.find_system(name)
        if system is None or delivery.sent == 0 or not delivery.of_content:
            return
        wanted = {system.boot.kernel, *system.boot.initrds}
        node = self._find(client)
        fields = {"client": client, "file": name, "release": release.id, "bytes": delivery.sent}
        if not delivery.reached_end:
            _log.warning("a node did not fetch a boot file to its end", **fields)
            return
        if node.release != release.id:
            if node.release is None and node.loaders:
                node.since = node.loading_since
            node.release, node.have = release.id, set()
        node.have.add(name)
        _log.info("a node has fetched a boot file", **fields)
        if wanted <= node.have:
            self.boots += 1
            seconds = round(self._clock() - node.since, 3)
            _log.info(
                "a node has everything it boots from",
                client=client,
                release=release.id,
                tag=release.tag,
                system=system.name,
                seconds=seconds,
                **({} if node.name is None else {"node": node.name}),
            )
            # The next thing it fetches is of its next boot.
            del self._boots[client]

    def _find(self, client: str) -> _Node:
        node = self._boots.pop(client, None) or _Node(since=self._clock())
        self._boots[client] = node
        if len(self._boots) > _MAX_NODES:
            self._boots.popitem(last=False)
        return node
