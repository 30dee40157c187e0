"""Ed25519 of the core beside OpenSSL's: the same signatures, and no other is accepted."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from keno._core import CoreError, Ed25519Signer, Ed25519Verifier

ORDER = 2**252 + 27742317777372353535851937790883648493
SECRETS = st.binary(min_size=32, max_size=32)

# RFC 8032, 7.1: secret key, public key, message, signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]

SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc(secret: str, public: str, message: str, signature: str) -> None:
    signer, said = Ed25519Signer(bytes.fromhex(secret)), bytes.fromhex(message)
    assert signer.public.hex() == public
    assert signer.sign(said).hex() == signature
    assert Ed25519Verifier(signer.public).verify(bytes.fromhex(signature), said)


@given(secret=SECRETS, message=st.binary(max_size=300))
def test_both_sign_the_same_and_accept_each_other(secret: bytes, message: bytes) -> None:
    ours, theirs = Ed25519Signer(secret), Ed25519PrivateKey.from_private_bytes(secret)
    assert ours.public == theirs.public_key().public_bytes_raw()
    signature = ours.sign(message)
    assert signature == theirs.sign(message)
    assert Ed25519Verifier(ours.public).is_sound
    assert Ed25519Verifier(ours.public).verify(signature, message)


@given(secret=SECRETS, message=st.binary(max_size=60), at=st.integers(0, 511), mistake=st.binary(max_size=3))
def test_nothing_else_is_a_signature(secret: bytes, message: bytes, at: int, mistake: bytes) -> None:
    signer = Ed25519Signer(secret)
    signature, verifier = signer.sign(message), Ed25519Verifier(signer.public)
    changed = bytearray(signature)
    changed[at // 8] ^= 1 << at % 8
    assert not verifier.verify(changed, message)
    assert not Ed25519Verifier(Ed25519Signer(bytes(32)).public).verify(signature, message) or secret == bytes(32)
    if mistake:
        assert not verifier.verify(signature, message + mistake)
    # The same scalar spelled with the order added: accepted, it would be a second signature.
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    assert not verifier.verify(signature[:32] + scalar.to_bytes(32, "little"), message)


@pytest.mark.parametrize("public", SMALL_ORDER)
def test_a_key_with_which_everybody_can_sign_verifies_nothing(public: str) -> None:
    verifier = Ed25519Verifier(bytes.fromhex(public))
    assert not verifier.is_sound
    neutral = bytes.fromhex(SMALL_ORDER[0]) + bytes(32)
    assert not verifier.verify(neutral, b"anything")


def test_a_key_that_is_no_point_verifies_nothing() -> None:
    verifier = Ed25519Verifier(bytes.fromhex("02" + 31 * "00"))
    assert not verifier.is_sound
    assert not verifier.verify(bytes(64), b"")


def test_wrong_lengths_are_errors() -> None:
    for make in (Ed25519Signer, Ed25519Verifier):
        for length in (0, 31, 33, 64):
            with pytest.raises(CoreError):
                make(bytes(length))
    for length in (0, 63, 65):
        with pytest.raises(CoreError):
            Ed25519Verifier(Ed25519Signer(bytes(32)).public).verify(bytes(length), b"")
