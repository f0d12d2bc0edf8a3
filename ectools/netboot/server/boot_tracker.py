"""A tracker of boots: what each node has fetched, logged step by step, up to all that it boots from."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ectools import log
from ectools.netboot.boots.model import NodeStage

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.http.responses import Delivery
    from ectools.netboot.release.manifest import Release

_log = log.Log(__name__)

# Nodes come and go; of those that came longest ago nothing is known any more.
_MAX_NODES = 4096
# Firmware asks again and again, and its PXE service beside: it is the same start.
_SAME_OFFER_SECONDS = 120.0
# What was seen longer ago is of a start that came to nothing.
_FIRST_STAGE_SECONDS = 600.0


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
    """The boots that are under way: by their ids, and by the nodes' addresses where a node has none.

    ``clock`` gives seconds that only grow. ``see`` is called with the id of a boot that is seen at a stage.
    """

    def __init__(
        self, *, clock: Callable[[], float], see: Callable[[str, NodeStage], None] = lambda *_: None
    ) -> None:
        self._clock = clock
        self._see = see
        self._boots: OrderedDict[str, _Node] = OrderedDict()
        self._offers: OrderedDict[str, float] = OrderedDict()
        self.boots = 0
        """How often a node has fetched everything that it boots from."""

    def offered(self, mac: str) -> None:
        """ProxyDHCP has answered the firmware of the node with this MAC address, once or again."""
        now = self._clock()
        if now - self._offers.get(mac, -math.inf) > _SAME_OFFER_SECONDS:
            self._offers[mac] = now
            self._offers.move_to_end(mac)
            if len(self._offers) > _MAX_NODES:
                self._offers.popitem(last=False)

    def find_seen(self, client: str, mac: str | None) -> dict[NodeStage, float]:
        """What a node was seen at that asks for its script, if it was just before: stage → seconds ago."""
        known, now = self._boots.get(client), self._clock()
        at = {
            NodeStage.OFFER: None if mac is None else self._offers.pop(mac, None),
            NodeStage.FIRST_STAGE: known.loading_since if known is not None and known.loaders else None,
        }
        return {
            stage: now - seen
            for stage, seen in at.items()
            if seen is not None and now - seen < _FIRST_STAGE_SECONDS
        }

    def first_stage(self, client: str, file: str) -> None:
        """The node got a file of the TFTP directory, over whichever protocol."""
        # TFTP is known by dnsmasq's log alone, which may come after what is asked over HTTP: it ends no boot.
        node = self._find(client)
        if file in node.loaders or not node.loaders:
            node.loaders, node.loading_since = set(), self._clock()
        node.loaders.add(file)

    def script(
        self,
        client: str,
        release: Release,
        delivery: Delivery,
        *,
        node: str | None = None,
        boot: str | None = None,
    ) -> None:
        """The node asked for the second script; ``node`` is its name, and ``boot`` the id of what it begins,
        where it has one.
        """
        if not delivery.reached_end:
            return
        known = self._find(client)
        since = known.loading_since if known.loaders else self._clock()
        if boot is not None:
            del self._boots[client]
        self._boots[boot or client] = _Node(since=since, release=release.id, name=node)
        named = {} if node is None else {"node": node}
        fields = {"client": client, "release": release.id, "tag": release.tag, **named}
        _log.info("a node has fetched its boot script", **fields)

    def file(
        self, client: str, release: Release, name: str, delivery: Delivery, *, boot: str | None = None
    ) -> None:
        """The node asked for a file of a release, and said for which boot, if it knows."""
        system = release.find_system(name)
        if system is None or delivery.sent == 0 or not delivery.of_content:
            return
        wanted = {system.boot.kernel, *system.boot.initrds}
        key = boot if boot is not None and boot in self._boots else client
        node = self._find(key)
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
        if boot is not None:
            if name == system.boot.kernel:
                self._see(boot, NodeStage.KERNEL)
            if node.have >= set(system.boot.initrds):
                self._see(boot, NodeStage.INITRD)
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
            del self._boots[key]

    def _find(self, key: str) -> _Node:
        node = self._boots.pop(key, None) or _Node(since=self._clock())
        self._boots[key] = node
        if len(self._boots) > _MAX_NODES:
            self._boots.popitem(last=False)
        return node
