"""What tests of each signature format share: what is signed, a key's seed, and how a call fails."""

from __future__ import annotations

import pytest

from ectools.netboot.settings.model import SignatureFormat
from ectools.netboot.signature import SignatureError, make_signature, verify_signature

DATA = b"what is signed"
MINISIGN, OPENSSH, OPENSSL = SignatureFormat.MINISIGN, SignatureFormat.OPENSSH, SignatureFormat.OPENSSL
ID = bytes(range(8))
SEED = bytes(range(32))


def fail(form: SignatureFormat, signature: bytes, public_key: bytes, data: bytes = DATA) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        verify_signature(form, data=data, signature=signature, public_key=public_key)
    return caught.value


def fail_sign(form: SignatureFormat, private_key: bytes) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        make_signature(form, data=DATA, private_key=private_key)
    return caught.value
