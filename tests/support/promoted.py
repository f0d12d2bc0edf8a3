"""A publisher with a key, who publishes and promotes, and a boot host that follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.depots import open_at
from support.fetching import RETRY
from support.releases import build_settings, check_whole, release_files

from ectools.netboot.publishing.promote import Promoter, Promotion
from ectools.netboot.publishing.provenance import BuildSource
from ectools.netboot.publishing.publication import pack_publication
from ectools.netboot.release.archive_writer import Compression
from ectools.netboot.release.pack import SigningKey
from ectools.netboot.release.stage import Staged, stage
from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import find_public_key

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.depot.opening import AnyDepot
    from ectools.netboot.release.manifest import Release


FORM = SignatureFormat.OPENSSL


@dataclass
class Promoted:
    """``place`` is a depot's address; ``now`` the publisher's clock, in Unix seconds."""

    home: Path
    place: str
    source: str
    token: str | None = None
    now: float = 1_700_000_000
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        key = Ed25519PrivateKey.generate()
        self.private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.home / "key.pub").write_bytes(find_public_key(FORM, self.private))
        (self.home / "key").write_bytes(self.private)

    def open(self) -> AnyDepot:
        return open_at(self.place, token=self.token)

    def publish(self, tag: str, text: str = "one") -> bool:
        """Whether the release, whose content is made of ``text``, is published by this."""
        output = self.home / f"output-{text}"
        output.mkdir(exist_ok=True)
        for name, data in release_files(text).items():
            (output / name).write_bytes(data)
        out = self.home / f"packed-{tag}-{text}"
        out.mkdir(exist_ok=True)
        publication = pack_publication(
            [output],
            out,
            tag=tag,
            compression=Compression.GZIP,
            key=SigningKey(format=FORM, file=self.home / "key"),
            source=BuildSource(uri="git+https://git.example.org/boot", commit="1" * 40),
        )
        return self.open().publish(publication)

    def promote(
        self, origin: str, channel: str, *, former_key: bytes | None = None, **options: Any
    ) -> Promotion:
        """A moment later than the one before."""
        self.now += 60
        depot = self.open()
        promoter = Promoter(
            depot=depot,
            where=depot.where,
            form=FORM,
            private_key=self.private,
            former_key=former_key,
            clock=lambda: self.now,
        )
        return promoter.promote(origin, channel, **options)

    def follow(self, *tags: str) -> Release:
        """The channel ``stable`` led to each in turn, and staged each time; the last one, which is whole."""
        for tag in tags:
            self.promote(tag, "stable")
            assert self.stage().release.tag == tag
        release = check_whole(self.home / "state")
        assert release is not None
        return release

    def stage(self, channel: str | None = "stable", **flags: Any) -> Staged:
        """As the boot host does; its state is in ``home/state``."""
        options = {
            "release_source": self.source,
            "release_channel": channel,
            "release_signature.format": FORM.value,
            "release_signature.publicKeyFile": str(self.home / "key.pub"),
            **self.options,
            **flags,
        }
        return stage(build_settings(self.home / "state", **options), retry=RETRY)
