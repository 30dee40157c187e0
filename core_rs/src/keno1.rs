//! The hashes of the keno1 protocol, byte for byte as `docs/fairness.md` defines them.
//!
//! Integers are big-endian and of fixed width, tags are ASCII without terminator. The draw itself is in `draw.rs`,
//! the bet leaves in `leaves.rs`. Nothing here decides which values belong together: callers do.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::Hash;
use crate::error::CoreError;
use crate::merkle;

/// Bytes of a room's identity.
pub const ROOM_BYTES: usize = 16;
/// Bytes of `ctx`: room and u64 round.
pub const CTX_BYTES: usize = ROOM_BYTES + 8;

/// One round of one room: what the protocol calls `ctx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundId<'a> {
    /// 16 raw bytes.
    pub room: &'a [u8; ROOM_BYTES],
    /// The round's number within its room.
    pub round: u64,
}

impl RoundId<'_> {
    /// `room, u64 round`.
    pub fn ctx(&self) -> [u8; CTX_BYTES] {
        let mut ctx = [0; CTX_BYTES];
        ctx[..ROOM_BYTES].copy_from_slice(self.room);
        ctx[ROOM_BYTES..].copy_from_slice(&self.round.to_be_bytes());
        ctx
    }
}

/// SHA-256 over the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// HMAC-SHA256 under `key`, ready to be cloned for every message under that key.
pub(crate) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// `HMAC(epoch_key, "keno1:seed" ctx)`.
pub fn seed(epoch_key: &Hash, round: &RoundId) -> Hash {
    seed_with(&keyed(epoch_key), round)
}

fn seed_with(epoch_mac: &Hmac<Sha256>, round: &RoundId) -> Hash {
    let mac = epoch_mac.clone().chain_update(b"keno1:seed").chain_update(round.ctx());
    mac.finalize().into_bytes().into()
}

/// `SHA256("keno1:commit" ctx seed)`.
pub fn commit(round: &RoundId, seed: &Hash) -> Hash {
    sha256(&[b"keno1:commit", &round.ctx(), seed])
}

/// `SHA256("keno1:ekey" epoch_key)`.
pub fn key_commit(epoch_key: &Hash) -> Hash {
    sha256(&[b"keno1:ekey", epoch_key])
}

/// A run of rounds of one room that are committed together: `first..first + count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundRange<'a> {
    room: &'a [u8; ROOM_BYTES],
    first: u64,
    count: u32,
}

impl<'a> RoundRange<'a> {
    /// Refuses an empty range, and one whose last round does not fit into 64 bits.
    pub fn new(room: &'a [u8; ROOM_BYTES], first: u64, count: usize) -> Result<Self, CoreError> {
        let refused = CoreError::Range { what: "the number of rounds", min: 1, max: u32::MAX.into() };
        let count = u32::try_from(count).map_err(|_| refused.clone())?;
        if count == 0 {
            return Err(refused);
        }
        if first.checked_add(u64::from(count) - 1).is_none() {
            return Err(CoreError::Range { what: "the last round", min: 0, max: u64::MAX });
        }
        Ok(Self { room, first, count })
    }

    fn round(&self, index: usize) -> RoundId<'a> {
        RoundId { room: self.room, round: self.first + index as u64 }
    }

    /// Where `round` stands in the range.
    pub fn index(&self, round: u64) -> Result<usize, CoreError> {
        let last = self.first + (u64::from(self.count) - 1);
        if !(self.first..=last).contains(&round) {
            return Err(CoreError::Range { what: "the round", min: self.first, max: last });
        }
        Ok((round - self.first) as usize)
    }

    /// Writes the commitments of all rounds under one epoch key into `out`, 32 bytes each.
    ///
    /// Panics if `out` does not have exactly one entry per round.
    pub fn commits(&self, epoch_key: &Hash, out: &mut [u8]) {
        assert_eq!(out.len(), self.count as usize * 32, "one commitment a round");
        let mac = keyed(epoch_key);
        for (index, entry) in out.chunks_exact_mut(32).enumerate() {
            let round = self.round(index);
            let seed = Zeroizing::new(seed_with(&mac, &round));
            entry.copy_from_slice(&commit(&round, &seed));
        }
    }

    /// The RFC 9162 leaf hash of `ctx commit`, for the commitment at `index` of `commits`.
    fn commit_leaf(&self, commits: &[u8], index: usize) -> Hash {
        let commit = &commits[index * 32..][..32];
        merkle::leaf_hash(&[&self.round(index).ctx(), commit])
    }

    /// RFC 9162 root over leaves `ctx commit`, one per round. `commits` has 32 bytes a round.
    pub fn commits_root(&self, commits: &[u8]) -> Hash {
        merkle::root((0..self.count as usize).map(|index| self.commit_leaf(commits, index)))
    }

    /// The inclusion path of the round's commitment, from the leaf upwards.
    pub fn commit_path(&self, commits: &[u8], round: u64) -> Result<Vec<Hash>, CoreError> {
        merkle::path(&|index| self.commit_leaf(commits, index), self.count as usize, self.index(round)?)
    }

    /// `SHA256("keno1:epoch" room u64 first u32 count commits_root key_commit u64 opened_ms)`.
    pub fn epoch_hash(&self, commits_root: &Hash, key_commit: &Hash, opened_ms: u64) -> Hash {
        let (first, count) = (self.first.to_be_bytes(), self.count.to_be_bytes());
        let opened = opened_ms.to_be_bytes();
        sha256(&[b"keno1:epoch", self.room, &first, &count, commits_root, key_commit, &opened])
    }
}

/// Everything a lock commits to.
#[derive(Clone, Copy, Debug)]
pub struct Lock<'a> {
    /// The round that is locked.
    pub round: RoundId<'a>,
    /// The round's commitment.
    pub commit: &'a Hash,
    /// SHA-256 of the published rules document.
    pub rules: &'a Hash,
    /// RFC 9162 root over the bet leaves.
    pub bets_root: &'a Hash,
    /// How many bets the root covers.
    pub bets_count: u64,
    /// When PostgreSQL locked the round.
    pub lock_ms: u64,
    /// The beacon round that enters the draw; 0 in profile S.
    pub beacon_round: u64,
    /// The lock of the room's previous locked round; zeros for its first.
    pub prev_lock: &'a Hash,
}

/// Bytes of what a lock commits to.
pub const LOCK_BYTES: usize = 176;

impl<'a> Lock<'a> {
    /// Reads what `to_bytes` wrote.
    pub fn from_bytes(hashed: &'a [u8; LOCK_BYTES]) -> Self {
        let hash = |at: usize| hashed[at..at + 32].try_into().expect("32 bytes");
        let integer = |at: usize| u64::from_be_bytes(hashed[at..at + 8].try_into().expect("8 bytes"));
        Self {
            round: RoundId { room: hashed[..ROOM_BYTES].try_into().expect("16 bytes"), round: integer(16) },
            commit: hash(24),
            rules: hash(56),
            bets_root: hash(88),
            bets_count: integer(120),
            lock_ms: integer(128),
            beacon_round: integer(136),
            prev_lock: hash(144),
        }
    }

    /// `ctx commit rules bets_root u64 bets_count u64 lock_ms u64 beacon_round prev_lock`: what is hashed behind the tag.
    pub fn to_bytes(&self) -> [u8; LOCK_BYTES] {
        let mut hashed = [0; LOCK_BYTES];
        let mut rest = &mut hashed[..];
        let ctx = self.round.ctx();
        let [count, lock_ms, beacon_round] = [self.bets_count, self.lock_ms, self.beacon_round].map(u64::to_be_bytes);
        for part in [&ctx[..], self.commit, self.rules, self.bets_root, &count, &lock_ms, &beacon_round, self.prev_lock]
        {
            let (written, behind) = rest.split_at_mut(part.len());
            written.copy_from_slice(part);
            rest = behind;
        }
        hashed
    }

    /// `SHA256("keno1:lock" ctx commit rules bets_root u64 bets_count u64 lock_ms u64 beacon_round prev_lock)`.
    pub fn hash(&self) -> Hash {
        sha256(&[b"keno1:lock", &self.to_bytes()])
    }
}

/// `SHA256("keno1:pre" ctx commit u64 beacon_round)`.
pub fn pre_hash(round: &RoundId, commit: &Hash, beacon_round: u64) -> Hash {
    sha256(&[b"keno1:pre", &round.ctx(), commit, &beacon_round.to_be_bytes()])
}

/// `SHA256("keno1:result" L seed beacon numbers)`, the 20 numbers in draw order.
pub fn result_hash(lock: &Hash, seed: &Hash, beacon: &Hash, numbers: &[u8; 20]) -> Hash {
    sha256(&[b"keno1:result", lock, seed, beacon, numbers])
}

/// `SHA256("keno1:void" L seed u8 reason)`.
pub fn void_hash(lock: &Hash, seed: &Hash, reason: u8) -> Hash {
    sha256(&[b"keno1:void", lock, seed, &[reason]])
}

/// `SHA256("keno1:account" operator_id player_reference)`.
pub fn account_hash(operator_id: &[u8; 16], player_reference: &str) -> Hash {
    sha256(&[b"keno1:account", operator_id, player_reference.as_bytes()])
}
