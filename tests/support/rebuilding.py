"""A system that was built again, and keys that sign that."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ectools.netboot.publishing.rebuilt import RebuiltSystem
from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import find_public_key

SYSTEM = f"/nix/store/{'a' * 32}-nixos-system-runner"
OTHER = f"/nix/store/{'b' * 32}-nixos-system-runner"
HASH = f"sha256:{'0' * 52}"


def make_key() -> tuple[bytes, bytes]:
    """A private key as OpenSSL has it, and the public one."""
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, find_public_key(SignatureFormat.OPENSSL, private)


def make_rebuilt(system: str = SYSTEM) -> RebuiltSystem:
    """A closure of two paths."""
    below = f"/nix/store/{'c' * 32}-glibc"
    hashes = {system: HASH, below: f"sha256:{'1' * 52}"}
    return RebuiltSystem(
        system=system, hashes=hashes, flake="git+https://x", configuration="runner", at=1_800_000_000
    )
