"""What nodes report over HTTP: who may, how often, and what they are answered.

A boot's token is its right: it is asked for before a byte of a body is read. Who has none that is known is
refused in the time of a look-up, and after a few tries told to come later; one who has is bounded by its
token, not by its address, which may be a whole site's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError, InputError
from ectools.netboot.boot_files.scripts.reporting import BOOT_PARAMETER, REPORT_NAME
from ectools.netboot.boots.installing import InstallRefusedError, parse_install_word
from ectools.netboot.boots.model import BootState, NodeStage
from ectools.netboot.boots.register import ReportError
from ectools.netboot.boots.report import MAX_REPORT_BYTES, parse_report, parse_store_percent
from ectools.netboot.http.slots import share_of
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.server.rate_limit import RateLimit
from ectools.netboot.server.unknown_tokens import UnknownTokens
from ectools.netboot.state.interface import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.boots.installing import InstallWord
    from ectools.netboot.boots.model import NodeBoot, NodeReport
    from ectools.netboot.boots.register import BootRegister
    from ectools.netboot.http.handler import RequestInfo
    from ectools.netboot.server.install_desk import InstallDesk

_log = log.Log(__name__)

_SEGMENTS = (REPORT_NAME.encode(),)
_STAGE = "stage"
_FORM = "application/x-www-form-urlencoded"
_REFUSED = "the token is unknown, or was used before, or its time is over"


class NodeReports:
    """The reports of one boot server. ``name_client`` gives the address of who asks; ``clock`` seconds that
    only grow. ``installs`` None: there is nothing to install. ``base_url`` gives the boot server's.
    ``is_cut_off`` is as in ``UnknownTokens``.
    """

    max_bytes = MAX_REPORT_BYTES

    def __init__(
        self,
        boots: BootRegister,
        *,
        name_client: Callable[[RequestInfo], str],
        installs: InstallDesk | None = None,
        base_url: Callable[[], str] = str,
        is_cut_off: Callable[[], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._boots = boots
        self._unknown = UnknownTokens(is_cut_off=is_cut_off, clock=clock, has_read=lambda: boots.is_loaded)
        self._installs = installs
        self._base_url = base_url
        self._name_client = name_client
        self._strangers = RateLimit(burst=16, per_second=1, clock=clock)
        self._nodes = RateLimit(burst=16, per_second=0.5, clock=clock)

    @staticmethod
    def is_asked(info: RequestInfo) -> bool:
        """Whether a request is about a report, and not about a file of that name."""
        return info.segments == _SEGMENTS and BOOT_PARAMETER in info.query

    def bound(self, info: RequestInfo) -> int:  # noqa: ARG002 - the same at each of its paths
        """Bytes of the largest body that is taken."""
        return self.max_bytes

    def is_for(self, info: RequestInfo) -> bool:
        """Whether a report may be sent to this path."""
        return info.segments == _SEGMENTS

    def admit(self, info: RequestInfo) -> None:
        """A body that is about to come. Raises RejectedError: 403, 415, 429."""
        self._admit(info)
        content_type = info.headers.get("Content-Type", _FORM)
        if content_type.partition(";")[0].strip().lower() != _FORM:
            raise self._reject(415, "malformed", f"expected {_FORM}")

    async def receive(self, info: RequestInfo, body: bytes) -> bytes:
        """The answer to a report that was admitted. Raises RejectedError: 400, 403, 503."""
        try:
            word = parse_install_word(body)
            if word is not None:
                return await self._install(info, word)
            percent = parse_store_percent(body)
            if percent is not None:
                return self._note_store(info, percent)
            stage, report = parse_report(body)
        except InputError as error:
            raise self._reject(400, "malformed", error.message) from error
        boot = await self._take(info, stage, report)
        if report is not None:
            _tell(boot, self._name_client(info))
        return b"ok\n"

    async def mark(self, info: RequestInfo) -> bytes:
        """The answer to iPXE, which has loaded everything: empty, as it is not run. Raises RejectedError."""
        self._admit(info)
        if info.query.getall(_STAGE, []) != [NodeStage.LOADED]:
            raise self._reject(400, "malformed", "expected stage=loaded, or a POST")
        self._boots.see_by_token(info.query[BOOT_PARAMETER], NodeStage.LOADED)
        return b""

    def _admit(self, info: RequestInfo) -> None:
        tokens = info.query.getall(BOOT_PARAMETER, [])
        if len(tokens) != 1 or not self._boots.knows(tokens[0]):
            if not self._strangers.take(share_of(self._name_client(info))):
                raise self._reject(429, "flood", "too many reports that nobody may make; come later")
            if len(tokens) == 1 and self._unknown.may_be_known_later(tokens[0]):
                raise self._reject(503, "unheard", "the token is not known here as yet; say it again")
            raise self._reject(403, "refused", _REFUSED)
        if not self._nodes.take(tokens[0]):
            raise self._reject(429, "flood", "too many reports on one boot; come later")

    async def _take(self, info: RequestInfo, stage: NodeStage, report: NodeReport | None) -> NodeBoot:
        try:
            boot = await self._boots.report(info.query[BOOT_PARAMETER], stage, report)
        except ReportError as error:
            raise self._reject(403, "refused", _REFUSED) from error
        except StateError as error:
            raise self._reject(503, "unkept", "it cannot be kept at the moment; say it again") from error
        self._boots.counts.reports["accepted"] += 1
        return boot

    def _note_store(self, info: RequestInfo, percent: int) -> bytes:
        try:
            self._boots.note_store(info.query[BOOT_PARAMETER], percent)
        except ReportError as error:
            raise self._reject(403, "refused", _REFUSED) from error
        self._boots.counts.reports["accepted"] += 1
        return b"ok\n"

    async def _install(self, info: RequestInfo, word: InstallWord) -> bytes:
        token, client = info.query[BOOT_PARAMETER], self._name_client(info)
        try:
            if self._installs is None:
                raise InstallRefusedError("nothing is installed from here")
            boot, answer = await self._installs.receive(token, word, base_url=self._base_url())
        except (ReportError, InstallRefusedError) as error:
            found = self._boots.find_reporting(token)
            named = {} if found is None else {"node": found.node, "boot": found.id}
            _log.warning("an installation is refused", client=client, reason=error.message, **named)
            raise self._reject(403, "refused", _REFUSED) from error
        except EcError as error:
            raise self._reject(503, "unkept", "it cannot be kept at the moment; say it again") from error
        self._boots.counts.reports["accepted"] += 1
        _tell_install(boot, word, client)
        return answer

    def _reject(self, status: int, word: str, message: str) -> RejectedError:
        self._boots.counts.reports[word] += 1
        return RejectedError(status, message)


def _tell_install(boot: NodeBoot, word: InstallWord, client: str) -> None:
    fields = {"client": client, "node": boot.node, "boot": boot.id, "step": word.step.value}
    if word.error is not None:
        _log.error("a node is not installed", **fields, reason=word.error, disk=word.disk)
    elif word.percent is None:
        disk = None if boot.install is None else boot.install.disk
        _log.info("a node installs itself", **fields, system=boot.store_path, disk=disk)


def _tell(boot: NodeBoot, client: str) -> None:
    write = _log.info if boot.state is BootState.HEALTHY else _log.warning
    seconds = None if boot.ended is None else round(boot.ended - boot.started, 1)
    write(
        "a node has reported",
        client=client,
        node=boot.node,
        machine=boot.machine,
        boot=boot.id,
        release=boot.release,
        state=boot.state.value,
        seconds=seconds,
        **({} if boot.why is None else {"reason": boot.why}),
    )
