"""The compiled core: keno1 hashes, the draw, Merkle trees over evidence, the settlement kernel, and requests.

All but the part on requests is for `keno/game/` and `keno/fairness/` only. Every function is a pure function of its
arguments: no clock, no randomness, no keys kept. Four classes have state: a `SettlementStream`, that of its own
bytes, `HeaderFields`, what was added, an `Ed25519Signer`, its key, and an `EpochKey`, which is the vault's, and draws
it from the operating system. `docs/fairness.md` defines the bytes.

Arguments of type `Buffer` are contiguous bytes: `bytes` are read in place, any other buffer (`bytearray`, `array`, a
numpy array) is copied once. A wrong length or range raises `CoreError`; a wrong type raises `TypeError`. Hashes, seeds
and keys have 32 bytes, rooms and operator ids 16. What takes time in proportion to its input releases the GIL, but for
signatures, digests and fingerprints of requests and answers.
"""

from collections.abc import Sequence
from typing import Literal, final

from typing_extensions import Buffer

__all__ = [
    "CoreError",
    "Ed25519Signer",
    "Ed25519Verifier",
    "EpochKey",
    "HeaderFields",
    "Lock",
    "MerkleTree",
    "Settled",
    "SettlementStream",
    "SignedRequest",
    "Terms",
    "account_hash",
    "beacon_public_key",
    "beacon_sign",
    "beacon_verify",
    "bet_leaves",
    "commit",
    "commit_path",
    "commits_root",
    "content_digest",
    "draw",
    "draw_block",
    "draw_many",
    "epoch_hash",
    "fingerprints",
    "hashes_root",
    "leaf_hashes",
    "leaves_path",
    "leaves_root",
    "mac_answer",
    "mask_picks",
    "merkle_verify",
    "picks_mask",
    "pre_hash",
    "receipt_batch",
    "request_base",
    "result_hash",
    "settle",
    "void_hash",
]

class CoreError(ValueError):
    """An argument does not have the length or range that its function states."""

# Requests: Ed25519 (RFC 8032), signatures of requests and answers (RFC 9421), fields and fingerprints.

@final
class Ed25519Signer:
    """A private key (32 bytes), in memory that is overwritten when the last reference goes."""

    def __new__(cls, secret: Buffer) -> Ed25519Signer: ...
    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""

    def sign(self, message: Buffer) -> bytes:
        """The signature, 64 bytes; of the same message always the same."""

    def sign_answer(
        self, status: int, body: Buffer, request_signature: str, key_id: str, now_s: int
    ) -> tuple[str, str, str]:
        """Content-Digest, Signature-Input and Signature of an answer, in the profile of keno/identity/responses.py.

        `request_signature` is the request's Signature field as received.
        """

@final
class Ed25519Verifier:
    """A public key (32 bytes). One that is no point of the curve, or of small order, verifies nothing."""

    def __new__(cls, public_key: Buffer) -> Ed25519Verifier: ...
    @property
    def is_sound(self) -> bool:
        """Whether any signature can verify."""

    def verify(self, signature: Buffer, message: Buffer) -> bool:
        """Whether the key signed this. No signature (64 bytes) verifies beside another spelling of it."""

@final
class SignedRequest:
    """What a request's signature says, in the profile of keno/identity/signature.py; nothing in it is proved."""

    @staticmethod
    def read(
        input: str, signature: str, content_digest: str
    ) -> SignedRequest | Literal["field", "input", "parameters", "signature", "digest"]:
        """Reads Signature-Input, Signature and Content-Digest strictly, or says what is malformed.

        `field`: one is longer than 512 bytes or not ASCII. `input`: the first is not a label, the components and four
        parameters; `parameters`: one is there twice. `signature`, `digest`: not canonical, or not of that length.
        """
    @property
    def key_id(self) -> str: ...
    @property
    def algorithm(self) -> Literal["ed25519", "hmac-sha256"]: ...
    @property
    def created_s(self) -> int: ...
    @property
    def nonce(self) -> str: ...
    @property
    def field(self) -> str:
        """The Signature field as received."""

    def is_of(self, body: Buffer) -> bool:
        """Whether the body has the digest."""

    def has_signature_of(self, key: Ed25519Verifier, method: str, target_uri: str) -> bool:
        """Whether the key signed such a request. Never, where the method or the target can't be signed."""

    def has_mac_of(self, secret: Buffer, method: str, target_uri: str) -> bool:
        """The same for a shared secret."""

def request_base(method: str, target_uri: str, content_digest: str, params: str) -> str | None:
    """What a request signs (RFC 9421 section 2.5).

    None where the method is not letters, or the absolute target not printable ASCII.
    """

def content_digest(body: Buffer) -> str:
    """The Content-Digest (RFC 9530) of a body."""

def mac_answer(
    secret: Buffer, status: int, body: Buffer, request_signature: str, key_id: str, now_s: int
) -> tuple[str, str, str]:
    """`Ed25519Signer.sign_answer` with a shared secret."""

@final
class HeaderFields:
    """The header fields of a request while a parser calls them out, and then for who asks for them."""

    def __new__(cls, fields_max: int) -> HeaderFields: ...
    def add(self, name: bytes, value: bytes) -> None:
        """One more, which is kept unless there are `fields_max`."""
    @property
    def overflowed(self) -> bool:
        """Whether there were more."""
    @property
    def size_bytes(self) -> int:
        """How long all names and values are together."""
    def take(self) -> HeaderFields:
        """What has been added, which is left here no longer."""
    def values(self, name: str) -> list[str]:
        """The values of a field by its name in ASCII of any case, one a line, each byte a character (latin-1)."""

def fingerprints(lines: Buffer) -> list[bytes]:
    """BLAKE3, cut to 16 bytes, of each line. A line ends in a newline, which does not count."""

# Seeds and commitments.

@final
class EpochKey:
    """The key of an epoch, in memory that is overwritten when the last reference goes. It can be neither printed nor
    pickled.
    """

    def __new__(cls, key: bytearray) -> EpochKey:
        """From its 32 bytes, which stay the caller's to wipe."""
    @staticmethod
    def draw() -> EpochKey:
        """A new one, from the operating system's generator. Raises OSError where that fails."""
    @property
    def key_commit(self) -> bytes:
        """The commitment to it: `SHA256("keno1:ekey" epoch_key)`."""
    def commits(self, room: Buffer, first: int, count: int) -> bytes:
        """The commitments of rounds `first` to `first + count - 1` end to end, 32 bytes each; `count` >= 1."""
    def seed(self, room: Buffer, round_number: int) -> bytes:
        """The round's seed: `HMAC(epoch_key, "keno1:seed" ctx)`, where ctx is room and u64 round."""
    def copy(self) -> bytearray:
        """Its 32 bytes, for the caller to wipe."""
    def reveal(self) -> bytes:
        """Its 32 bytes as they are published, in an object that cannot be wiped."""

def commit(room: Buffer, round_number: int, seed: Buffer) -> bytes:
    """The commitment to a seed: `SHA256("keno1:commit" ctx seed)`."""

def commits_root(room: Buffer, first: int, commits: Buffer) -> bytes:
    """RFC 9162 root over leaves `ctx commit`, one for each 32 bytes of `commits`, of rounds from `first` on."""

def commit_path(room: Buffer, first: int, commits: Buffer, round_number: int) -> list[bytes]:
    """The inclusion path of one round's commitment under `commits_root`, from the leaf upwards."""

def epoch_hash(room: Buffer, first: int, count: int, commits_root: Buffer, key_commit: Buffer, opened_ms: int) -> bytes:
    """`SHA256("keno1:epoch" room u64 first u32 count commits_root key_commit u64 opened_ms)`."""

# A round's hashes.

@final
class Lock:
    """What the lock of a round commits to. Two are equal where all of it is."""

    def __new__(
        cls,
        room: Buffer,
        number: int,
        commit: Buffer,
        rules: Buffer,
        bets_root: Buffer,
        bets_count: int,
        lock_ms: int,
        beacon_round: int,
        prev_lock: Buffer,
    ) -> Lock:
        """`prev_lock` is L of the room's previous locked round, zeros for its first; `beacon_round` is 0 in profile
        S.
        """
    @staticmethod
    def from_bytes(hashed: Buffer) -> Lock:
        """From the 176 bytes that are hashed: `ctx commit rules bets_root u64 bets_count u64 lock_ms u64 beacon_round
        prev_lock`.
        """
    @property
    def room(self) -> bytes: ...
    @property
    def number(self) -> int: ...
    @property
    def commit(self) -> bytes: ...
    @property
    def rules(self) -> bytes: ...
    @property
    def bets_root(self) -> bytes: ...
    @property
    def bets_count(self) -> int: ...
    @property
    def lock_ms(self) -> int: ...
    @property
    def beacon_round(self) -> int: ...
    @property
    def prev_lock(self) -> bytes: ...
    @property
    def hash(self) -> bytes:
        """L: `SHA256("keno1:lock" ...)` over the bytes of `from_bytes`."""
    @property
    def pre(self) -> bytes:
        """P, `pre_hash` of it: what is known of the round before its bets."""
    def opens_with(self, seed: Buffer) -> bool:
        """Whether its commitment is to this seed."""
    def draw(self, seed: Buffer, beacon: Buffer, binds_bets: bool) -> tuple[bytes, bytes]:
        """The 20 numbers in draw order, and the result's hash. X is L where the draw binds the bets, else P."""

def pre_hash(room: Buffer, round_number: int, commit: Buffer, beacon_round: int) -> bytes:
    """P: `SHA256("keno1:pre" ctx commit u64 beacon_round)`, the X of profiles E and S."""

def result_hash(lock: Buffer, seed: Buffer, beacon: Buffer, numbers: Buffer) -> bytes:
    """`SHA256("keno1:result" L seed beacon numbers)`, with 20 distinct number bytes in draw order."""

def void_hash(lock: Buffer, seed: Buffer, reason: int) -> bytes:
    """`SHA256("keno1:void" L seed u8 reason)`."""

def account_hash(operator_id: Buffer, player_reference: str) -> bytes:
    """`SHA256("keno1:account" operator_id player_reference)`, the reference in UTF-8.

    A reference with a lone surrogate has no UTF-8 form and raises `UnicodeEncodeError`.
    """

# The draw.

def draw(seed: Buffer, x: Buffer, beacon: Buffer) -> bytes:
    """20 distinct number bytes (1 to 80) in draw order."""

def draw_many(seeds: Buffer, xs: Buffer, beacons: Buffer) -> bytes:
    """Draws of many rounds: three columns of 32 bytes a round give 20 number bytes a round."""

def draw_block(seed: Buffer, x: Buffer, beacon: Buffer, j: int) -> bytes:
    """Block j of a draw's stream: `HMAC(seed, "keno1:draw" x beacon u32 j)`."""

# Beacons (drand's scheme bls-unchained-g1-rfc9380).

def beacon_verify(public_key: Buffer, round_number: int, signature: Buffer) -> bool:
    """Whether `signature` (48 bytes, a compressed point of G1) is that of a round under a key (96 bytes, of G2).

    Whatever is no such point, of other lengths as well, is False. It takes about a millisecond, without the GIL.
    """

def beacon_public_key(secret: Buffer) -> bytes:
    """The public key, 96 bytes, of 32 bytes of secret key material. For the local beacon."""

def beacon_sign(secret: Buffer, round_number: int) -> bytes:
    """The signature, 48 bytes, of a round under a secret. For the local beacon."""

# Leaves and trees (RFC 9162).

def bet_leaves(privacy_key: Buffer, unsalted: Buffer) -> bytes:
    """Leaf data of bets: 122 bytes a bet without salt, bet id first, become 138 bytes with the salt in front.

    The salt is the first 16 bytes of `HMAC(privacy_key, bet id)`; the key has 32 bytes.
    """

def leaf_hashes(leaves: Buffer, width: int) -> bytes:
    """`SHA256(0x00 leaf)` of every `width` bytes, 32 bytes each."""

def leaves_root(leaves: Buffer, width: int) -> bytes:
    """The root over leaves of `width` bytes in order; `SHA256("")` over none."""

def hashes_root(hashes: Buffer) -> bytes:
    """The root over leaf hashes of 32 bytes in order; `SHA256("")` over none."""

def leaves_path(leaves: Buffer, width: int, index: int) -> list[bytes]:
    """The inclusion path of the leaf at `index` (from 0), from the leaf upwards."""

def merkle_verify(root: Buffer, leaf_hash: Buffer, index: int, size: int, path: Sequence[Buffer]) -> bool:
    """Whether `path` proves that `leaf_hash` is leaf `index` of the `size` leaves under `root`.

    A path that is too short, too long or leads elsewhere is False; one with an entry of another length than 32 bytes
    raises `CoreError`.
    """

@final
class MerkleTree:
    """A whole tree in memory, 64 bytes a leaf, for the paths of many of its leaves. Immutable."""

    def __new__(cls, hashes: Buffer) -> MerkleTree:
        """`hashes` are the leaf hashes in order, 32 bytes each."""

    def __len__(self) -> int: ...
    @property
    def root(self) -> bytes:
        """The root; `SHA256("")` of no leaves."""

    def path(self, index: int) -> list[bytes]:
        """The inclusion path of the leaf at `index` (from 0), from the leaf upwards."""

    def index_of(self, leaf_hash: Buffer) -> int | None:
        """Which leaf has this hash, the first where several have; None where none has."""

def receipt_batch(places: Buffer, leaf_hashes: Buffer) -> tuple[bytes, list[bytes]]:
    """What is signed for the bets of a batch, and the path of each in the batch's tree, from the leaf upwards, as a
    JSON string of hex.

    `places` has 32 bytes a bet: room (16), round (8), accepted_ms (8); `leaf_hashes` the hash of its leaf. In the tree
    of the batch the leaf of a bet is its statement, `"keno1:receipt" room u64 round leaf_hash u64 accepted_ms`. The
    message is `"keno1:batch" u32 count root`, and of one bet alone its statement; then its path is empty.
    """

# Picks.

def picks_mask(picks: Sequence[int]) -> bytes:
    """Distinct numbers from 1 to 80, in any order, as ten bytes: a big-endian integer with bit n-1 for number n.

    Any set of numbers has a mask, from none to all 80: that a bet has 1 to 10 picks is for its caller to check.
    """

def mask_picks(mask: Buffer) -> list[int]:
    """The numbers of a ten-byte mask, ascending."""

# Settlement.

@final
class Terms:
    """A paytable in one currency."""

    def __new__(
        cls,
        multipliers: Sequence[Sequence[int]],
        scale: int,
        win_max_minor: int,
        round_win_max_minor: int | None = None,
    ) -> Terms:
        """`multipliers[p][h]` is what h hits of p picks multiply the stake by, in units of 1/`scale`.

        There are 11 rows; row 0 is empty and row p has p + 1 entries. Multipliers are 0 to 2^63 - 1; `scale` and
        `win_max_minor`, the most one bet is paid, are 1 to 2^63 - 1. `round_win_max_minor`, the most all bets of an
        account in a round are paid, is `win_max_minor` to 2^63 - 1, or None where there is no such limit.
        """

@final
class Settled:
    """What `settle` found, one entry a bet in the order of its columns. It can't be built from Python."""

    @property
    def hits(self) -> bytes:
        """One byte a bet: how many of its picks were drawn."""

    @property
    def payouts(self) -> bytes:
        """Eight bytes a bet, little-endian i64: what is paid, in minor units."""

    @property
    def cuts(self) -> bytes:
        """Eight bytes a bet, little-endian i64: what the maximum win cut off, in minor units."""

def settle(picks: Buffer, stakes: Buffer, terms_index: Buffer, terms: Sequence[Terms], numbers: Buffer) -> Settled:
    """Settles a column of bets against one draw: the kernel alone, to be tested and measured. Rounds are settled by
    `SettlementStream`, which has it inside.

    `picks` has a ten-byte mask a bet, `stakes` a little-endian i64 in minor units (`array("q")` on the usual machines),
    `terms_index` a byte that says which of `terms` holds. `numbers` are the 20 number bytes of the draw.

    payout = min(floor(stake x multiplier / scale), win_max_minor); the cut is what the minimum took away. The product
    has 128 bits; `round_win_max_minor` does not count here. `CoreError` names the first bet, by its index, whose
    stake is not positive, which has not 1 to 10 picks, whose terms index is too large, or whose cut does not fit into
    64 bits; then nothing is settled.
    """

@final
class SettlementStream:
    """Settles the bets of drawn rounds while they stream by: PostgreSQL's binary COPY in and out, no object for a bet.

    In come the rows (round_id int8, bet_id int8, operator_id uuid, account_id int8, picks bytea, stake_minor int8,
    terms int2), none of them null, ascending by round and bet; `picks` are masks of ten bytes, `terms` says by its
    index which of the round's terms holds. Out go the rows (bet_id int8, round_id int8, account_id int8, hits int2,
    payout_minor int8, cut_minor int8) of the bets that won, in the same order. The rule is that of `settle`; where
    terms have a `round_win_max_minor`, the account's wins of the round are paid in the order of their bets until it is
    reached: the bet that would pass it is cut to what is left, later ones to 0. Memory grows with rounds, operators
    and terms, with the length of a chunk and, in a round with such a limit, the accounts that win; not with the bets.

    `CoreError` says what is wrong with the stream, or names the first bet that cannot be settled; what was returned
    before is then worthless, and every later call raises `CoreError` too. A stream serves one thread at a time.
    """

    def __new__(cls, rounds: Sequence[tuple[int, Buffer, Sequence[Terms], Buffer]]) -> SettlementStream:
        """`rounds` are (id, the 20 number bytes of its draw, its terms, what accounts were paid before), in any order.

        Ids are distinct, 0 to 2^63 - 1; a round has at most 256 terms, and need not have bets. Rounds with the same
        terms are settled faster when those are the same objects. What was paid before matters only with a
        `round_win_max_minor`, to a stream that goes on after earlier bets of the round: 16 bytes for each account that
        those paid, its id and the sum, both big-endian i64; empty where there were none.
        """

    def feed(self, chunk: Buffer) -> bytes:
        """Takes the next bytes of the bets, cut anywhere, and returns the bytes of payouts that are ready, if any.

        The first call returns the header.
        """

    def finish(self) -> bytes:
        """Returns the rest of the payouts with the trailer. The trailer of the bets must have been fed."""

    def totals(self) -> list[tuple[int, bytes, int, int, int, int, int, int]]:
        """After `finish`: (round_id, operator_id, terms, bets_count, staked_minor, paid_minor, cut_minor,
        expected_parts), sorted.

        There is one for each round, operator and terms with bets. `expected_parts` is what the odds say that the bets
        are paid, in 1/115254447708400 of a minor unit: the sum of each possible payout of `settle`, by its probability.
        A sum of money beyond 2^63 - 1, or of expected payouts beyond 128 bits, has already raised.
        """

    @property
    def winners_count(self) -> int:
        """How many rows `feed` and `finish` have returned so far."""

    @property
    def last_bet_id(self) -> int | None:
        """The last bet that was fed; None before there is one."""
