//! The lock of a round as a Python class: read as it is hashed, and what follows from it.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{Digest, Int, Octets, digest, round_id};
use crate::error::{CoreError, fixed};
use crate::keno1::{self, LOCK_BYTES};
use crate::{Hash, draw as draws};

#[pyclass(frozen, eq, hash, module = "keno._core")]
#[derive(PartialEq, Hash)]
pub(super) struct Lock {
    hashed: [u8; LOCK_BYTES],
    hash: Hash,
}

#[pymethods]
impl Lock {
    #[new]
    fn new(
        room: Octets<'_>,
        number: Int<u64>,
        commit: Octets<'_>,
        rules: Octets<'_>,
        bets_root: Octets<'_>,
        bets_count: Int<u64>,
        lock_ms: Int<u64>,
        beacon_round: Int<u64>,
        prev_lock: Octets<'_>,
    ) -> Result<Self, CoreError> {
        let lock = keno1::Lock {
            round: round_id(&room, number.0)?,
            commit: fixed("commit", &commit)?,
            rules: fixed("rules", &rules)?,
            bets_root: fixed("bets_root", &bets_root)?,
            bets_count: bets_count.0,
            lock_ms: lock_ms.0,
            beacon_round: beacon_round.0,
            prev_lock: fixed("prev_lock", &prev_lock)?,
        };
        Ok(Self { hashed: lock.to_bytes(), hash: lock.hash() })
    }

    #[staticmethod]
    fn from_bytes(hashed: Octets<'_>) -> Result<Self, CoreError> {
        let hashed = *fixed("a lock", &hashed)?;
        Ok(Self { hashed, hash: keno1::Lock::from_bytes(&hashed).hash() })
    }

    #[getter]
    fn room<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.fields().round.room)
    }

    #[getter]
    fn number(&self) -> u64 {
        self.fields().round.round
    }

    #[getter]
    fn commit<'py>(&self, py: Python<'py>) -> Digest<'py> {
        digest(py, self.fields().commit)
    }

    #[getter]
    fn rules<'py>(&self, py: Python<'py>) -> Digest<'py> {
        digest(py, self.fields().rules)
    }

    #[getter]
    fn bets_root<'py>(&self, py: Python<'py>) -> Digest<'py> {
        digest(py, self.fields().bets_root)
    }

    #[getter]
    fn bets_count(&self) -> u64 {
        self.fields().bets_count
    }

    #[getter]
    fn lock_ms(&self) -> u64 {
        self.fields().lock_ms
    }

    #[getter]
    fn beacon_round(&self) -> u64 {
        self.fields().beacon_round
    }

    #[getter]
    fn prev_lock<'py>(&self, py: Python<'py>) -> Digest<'py> {
        digest(py, self.fields().prev_lock)
    }

    #[getter]
    fn hash<'py>(&self, py: Python<'py>) -> Digest<'py> {
        digest(py, &self.hash)
    }

    #[getter]
    fn pre<'py>(&self, py: Python<'py>) -> Digest<'py> {
        digest(py, &self.pre_hash())
    }

    fn opens_with(&self, seed: Octets<'_>) -> Result<bool, CoreError> {
        let lock = self.fields();
        Ok(keno1::commit(&lock.round, fixed("seed", &seed)?) == *lock.commit)
    }

    fn draw<'py>(
        &self,
        py: Python<'py>,
        seed: Octets<'py>,
        beacon: Octets<'py>,
        binds_bets: bool,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let (seed, beacon) = (fixed("seed", &seed)?, fixed("beacon", &beacon)?);
        let x = if binds_bets { self.hash } else { self.pre_hash() };
        let numbers = draws::draw(seed, &x, beacon);
        let result = keno1::result_hash(&self.hash, seed, beacon, &numbers);
        Ok((PyBytes::new(py, &numbers), PyBytes::new(py, &result)))
    }
}

impl Lock {
    fn fields(&self) -> keno1::Lock<'_> {
        keno1::Lock::from_bytes(&self.hashed)
    }

    fn pre_hash(&self) -> Hash {
        let lock = self.fields();
        keno1::pre_hash(&lock.round, lock.commit, lock.beacon_round)
    }
}
