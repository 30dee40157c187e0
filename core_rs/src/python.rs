//! `keno._core`: with `python/`, all that knows Python. It parses, calls, and maps the one error.
//!
//! Lengths and ranges are checked here or in the constructors it calls; the rules live in the other files. What takes
//! time in proportion to its input runs without the GIL. The contract is written in `keno/_core.pyi`.

// Every value that enters a hash is an argument of its own: Python passes them by name.
#![allow(clippy::too_many_arguments)]

use std::sync::Arc;

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::error::{CoreError, exact_rows, fixed, rows};
use crate::keno1::{self, RoundId, RoundRange};
use crate::leaves::{self, Leaves};
use crate::picks::NumberSet;
use crate::{Hash, beacon as beacons, draw as draws, merkle, paytable, settle as kernel};

mod epoch_key;
mod lock;
mod requests;
mod signatures;
mod stream;
mod trees;

mod exception {
    #![allow(missing_docs)] // The macro writes the type.
    pyo3::create_exception!(
        keno._core,
        CoreError,
        pyo3::exceptions::PyValueError,
        "An argument does not have the length or range that its function states."
    );
}

impl From<CoreError> for PyErr {
    fn from(error: CoreError) -> Self {
        exception::CoreError::new_err(error.to_string())
    }
}

/// Contiguous bytes: `bytes` as they are, any other buffer as a copy, which nobody else can change meanwhile.
struct Octets<'py>(Bound<'py, PyBytes>);

impl<'py> FromPyObject<'_, 'py> for Octets<'py> {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = obj.cast::<PyBytes>() {
            return Ok(Self(bytes.to_owned()));
        }
        let copy = PyMemoryView::from(&obj)?.call_method0("tobytes")?;
        Ok(Self(copy.cast_into::<PyBytes>()?))
    }
}

impl std::ops::Deref for Octets<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// An integer of a fixed width; one that does not fit is a `CoreError`, not an `OverflowError`.
struct Int<T>(T);

impl<'py, T: for<'a> FromPyObject<'a, 'py, Error = PyErr>> FromPyObject<'_, 'py> for Int<T> {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        obj.extract().map(Self).map_err(|error| {
            if !error.is_instance_of::<PyOverflowError>(obj.py()) {
                return error;
            }
            let bits = 8 * size_of::<T>();
            exception::CoreError::new_err(format!("an integer does not fit into {bits} unsigned bits"))
        })
    }
}

type Digest<'py> = PyResult<Bound<'py, PyBytes>>;

fn digest<'py>(py: Python<'py>, hash: &[u8]) -> Digest<'py> {
    Ok(PyBytes::new(py, hash))
}

fn digests<'py>(py: Python<'py>, hashes: &[Hash]) -> Vec<Bound<'py, PyBytes>> {
    hashes.iter().map(|hash| PyBytes::new(py, hash)).collect()
}

/// New bytes of `rows` entries of `width`, filled without the GIL.
fn filled<'py>(py: Python<'py>, rows: usize, width: usize, fill: impl FnOnce(&mut [u8]) + Send) -> Digest<'py> {
    let size = rows.checked_mul(width).ok_or_else(|| PyOverflowError::new_err("result too large"))?;
    PyBytes::new_with(py, size, |out| {
        py.detach(|| fill(out));
        Ok(())
    })
}

fn round_id(room: &[u8], round: u64) -> Result<RoundId<'_>, CoreError> {
    Ok(RoundId { room: fixed("room", room)?, round })
}

fn range<'a>(room: &'a [u8], first: u64, commits: &[u8]) -> Result<RoundRange<'a>, CoreError> {
    RoundRange::new(fixed("room", room)?, first, rows("commits", commits, 32)?)
}

#[pyclass(frozen, module = "keno._core")]
struct Terms(Arc<paytable::Terms>);

#[pymethods]
impl Terms {
    #[new]
    #[pyo3(signature = (multipliers, scale, win_max_minor, round_win_max_minor=None))]
    fn new(
        multipliers: Vec<Vec<Int<u64>>>,
        scale: Int<u64>,
        win_max_minor: Int<u64>,
        round_win_max_minor: Option<Int<u64>>,
    ) -> Result<Self, CoreError> {
        let rows: Vec<Vec<u64>> = multipliers.into_iter().map(|row| row.into_iter().map(|m| m.0).collect()).collect();
        let round_win_max_minor = round_win_max_minor.map(|value| value.0);
        Ok(Self(Arc::new(paytable::Terms::new(&rows, scale.0, win_max_minor.0, round_win_max_minor)?)))
    }
}

#[pyclass(frozen, get_all, module = "keno._core")]
struct Settled {
    hits: Py<PyBytes>,
    payouts: Py<PyBytes>,
    cuts: Py<PyBytes>,
}

#[pymodule(gil_used = false)]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::{
        Settled, Terms, epoch_key::EpochKey, exception::CoreError, lock::Lock, requests::HeaderFields,
        requests::fingerprints, signatures::Ed25519Signer, signatures::Ed25519Verifier, signatures::SignedRequest,
        signatures::content_digest, signatures::mac_answer, signatures::request_base, stream::SettlementStream,
        trees::MerkleTree, trees::receipt_batch,
    };

    #[pyfunction]
    fn commit<'py>(py: Python<'py>, room: Octets<'py>, round_number: Int<u64>, seed: Octets<'py>) -> Digest<'py> {
        digest(py, &keno1::commit(&round_id(&room, round_number.0)?, fixed("seed", &seed)?))
    }

    #[pyfunction]
    fn commits_root<'py>(py: Python<'py>, room: Octets<'py>, first: Int<u64>, commits: Octets<'py>) -> Digest<'py> {
        let (range, commits) = (range(&room, first.0, &commits)?, &*commits);
        digest(py, &py.detach(|| range.commits_root(commits)))
    }

    #[pyfunction]
    fn commit_path<'py>(
        py: Python<'py>,
        room: Octets<'py>,
        first: Int<u64>,
        commits: Octets<'py>,
        round_number: Int<u64>,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let (range, commits) = (range(&room, first.0, &commits)?, &*commits);
        Ok(digests(py, &py.detach(|| range.commit_path(commits, round_number.0))?))
    }

    #[pyfunction]
    fn epoch_hash<'py>(
        py: Python<'py>,
        room: Octets<'py>,
        first: Int<u64>,
        count: Int<u32>,
        commits_root: Octets<'py>,
        key_commit: Octets<'py>,
        opened_ms: Int<u64>,
    ) -> Digest<'py> {
        let range = RoundRange::new(fixed("room", &room)?, first.0, count.0 as usize)?;
        let (root, key) = (fixed("commits_root", &commits_root)?, fixed("key_commit", &key_commit)?);
        digest(py, &range.epoch_hash(root, key, opened_ms.0))
    }

    #[pyfunction]
    fn pre_hash<'py>(
        py: Python<'py>,
        room: Octets<'py>,
        round_number: Int<u64>,
        commit: Octets<'py>,
        beacon_round: Int<u64>,
    ) -> Digest<'py> {
        let round = round_id(&room, round_number.0)?;
        digest(py, &keno1::pre_hash(&round, fixed("commit", &commit)?, beacon_round.0))
    }

    #[pyfunction]
    fn draw<'py>(py: Python<'py>, seed: Octets<'py>, x: Octets<'py>, beacon: Octets<'py>) -> Digest<'py> {
        digest(py, &draws::draw(fixed("seed", &seed)?, fixed("x", &x)?, fixed("beacon", &beacon)?))
    }

    #[pyfunction]
    fn draw_many<'py>(py: Python<'py>, seeds: Octets<'py>, xs: Octets<'py>, beacons: Octets<'py>) -> Digest<'py> {
        let count = rows("seeds", &seeds, 32)?;
        exact_rows("xs", &xs, 32, count)?;
        exact_rows("beacons", &beacons, 32, count)?;
        let (seeds, xs, beacons) = (&*seeds, &*xs, &*beacons);
        filled(py, count, draws::DRAWN, |out| draws::draw_many(seeds, xs, beacons, out))
    }

    #[pyfunction]
    fn draw_block<'py>(
        py: Python<'py>,
        seed: Octets<'py>,
        x: Octets<'py>,
        beacon: Octets<'py>,
        j: Int<u32>,
    ) -> Digest<'py> {
        digest(py, &draws::block(fixed("seed", &seed)?, fixed("x", &x)?, fixed("beacon", &beacon)?, j.0))
    }

    #[pyfunction]
    fn result_hash<'py>(
        py: Python<'py>,
        lock: Octets<'py>,
        seed: Octets<'py>,
        beacon: Octets<'py>,
        numbers: Octets<'py>,
    ) -> Digest<'py> {
        let numbers: &draws::Numbers = fixed("numbers", &numbers)?;
        draws::drawn_set(numbers)?;
        let (lock, seed) = (fixed("lock", &lock)?, fixed("seed", &seed)?);
        digest(py, &keno1::result_hash(lock, seed, fixed("beacon", &beacon)?, numbers))
    }

    #[pyfunction]
    fn void_hash<'py>(py: Python<'py>, lock: Octets<'py>, seed: Octets<'py>, reason: Int<u8>) -> Digest<'py> {
        digest(py, &keno1::void_hash(fixed("lock", &lock)?, fixed("seed", &seed)?, reason.0))
    }

    #[pyfunction]
    fn account_hash<'py>(py: Python<'py>, operator_id: Octets<'py>, player_reference: &str) -> Digest<'py> {
        digest(py, &keno1::account_hash(fixed("operator_id", &operator_id)?, player_reference))
    }

    #[pyfunction]
    fn bet_leaves<'py>(py: Python<'py>, privacy_key: Octets<'py>, unsalted: Octets<'py>) -> Digest<'py> {
        let privacy_key: &Hash = fixed("privacy_key", &privacy_key)?;
        let (bets, unsalted) = (rows("unsalted", &unsalted, leaves::UNSALTED_BYTES)?, &*unsalted);
        filled(py, bets, leaves::LEAF_BYTES, |out| leaves::salt_into(privacy_key, unsalted, out))
    }

    #[pyfunction]
    fn leaf_hashes<'py>(py: Python<'py>, leaves: Octets<'py>, width: Int<usize>) -> Digest<'py> {
        let leaves = Leaves::new(&leaves, width.0)?;
        filled(py, leaves.count(), 32, |out| leaves.hash_into(out))
    }

    #[pyfunction]
    fn leaves_root<'py>(py: Python<'py>, leaves: Octets<'py>, width: Int<usize>) -> Digest<'py> {
        let leaves = Leaves::new(&leaves, width.0)?;
        digest(py, &py.detach(|| leaves.root()))
    }

    #[pyfunction]
    fn hashes_root<'py>(py: Python<'py>, hashes: Octets<'py>) -> Digest<'py> {
        let (_, hashes) = (rows("hashes", &hashes, 32)?, &*hashes);
        digest(py, &py.detach(|| merkle::root(hashes.chunks_exact(32).map(|hash| hash.try_into().expect("32 bytes")))))
    }

    #[pyfunction]
    fn leaves_path<'py>(
        py: Python<'py>,
        leaves: Octets<'py>,
        width: Int<usize>,
        index: Int<usize>,
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let leaves = Leaves::new(&leaves, width.0)?;
        Ok(digests(py, &py.detach(|| leaves.path(index.0))?))
    }

    #[pyfunction]
    fn merkle_verify(
        root: Octets<'_>,
        leaf_hash: Octets<'_>,
        index: Int<u64>,
        size: Int<u64>,
        path: Vec<Octets<'_>>,
    ) -> PyResult<bool> {
        let path = path.iter().map(|hash| fixed("a path entry", hash).copied()).collect::<Result<Vec<Hash>, _>>()?;
        Ok(merkle::verify(fixed("root", &root)?, fixed("leaf_hash", &leaf_hash)?, index.0, size.0, &path))
    }

    #[pyfunction]
    fn picks_mask(py: Python<'_>, picks: Vec<Int<u8>>) -> Digest<'_> {
        digest(py, &NumberSet::from_numbers(picks.into_iter().map(|pick| pick.0))?.to_mask())
    }

    #[pyfunction]
    fn beacon_verify<'py>(
        py: Python<'py>,
        public_key: Octets<'py>,
        round_number: Int<u64>,
        signature: Octets<'py>,
    ) -> bool {
        let (public_key, signature) = (&*public_key, &*signature);
        py.detach(|| beacons::verify(public_key, round_number.0, signature))
    }

    #[pyfunction]
    fn beacon_public_key<'py>(py: Python<'py>, secret: Octets<'py>) -> Digest<'py> {
        digest(py, &beacons::public_key(fixed("secret", &secret)?))
    }

    #[pyfunction]
    fn beacon_sign<'py>(py: Python<'py>, secret: Octets<'py>, round_number: Int<u64>) -> Digest<'py> {
        let secret: &Hash = fixed("secret", &secret)?;
        digest(py, &py.detach(|| beacons::sign(secret, round_number.0)))
    }

    #[pyfunction]
    fn mask_picks(mask: Octets<'_>) -> PyResult<Vec<u32>> {
        // As u32, because Python would receive a vector of u8 as bytes.
        Ok(NumberSet::from_mask(fixed("mask", &mask)?).numbers().map(u32::from).collect())
    }

    #[pyfunction]
    fn settle<'py>(
        py: Python<'py>,
        picks: Octets<'py>,
        stakes: Octets<'py>,
        terms_index: Octets<'py>,
        terms: Vec<PyRef<'py, Terms>>,
        numbers: Octets<'py>,
    ) -> PyResult<Settled> {
        let bets = kernel::Bets::new(&picks, &stakes, &terms_index)?;
        let drawn = draws::drawn_set(fixed("numbers", &numbers)?)?;
        let terms: Vec<Arc<paytable::Terms>> = terms.iter().map(|terms| Arc::clone(&terms.0)).collect();
        let (count, mut payouts, mut cuts) = (bets.count(), None, None);
        let hits = PyBytes::new_with(py, count, |hits| {
            payouts = Some(PyBytes::new_with(py, count * 8, |payouts| {
                cuts = Some(PyBytes::new_with(py, count * 8, |cuts| {
                    let mut out = kernel::Outcome { hits, payouts, cuts };
                    Ok(py.detach(|| kernel::settle(&bets, &terms, drawn, &mut out))?)
                })?);
                Ok(())
            })?);
            Ok(())
        })?;
        let column = |bytes: Option<Bound<'py, PyBytes>>| bytes.expect("filled with the hits").unbind();
        Ok(Settled { hits: hits.unbind(), payouts: column(payouts), cuts: column(cuts) })
    }
}
