//! An epoch key as a Python class: drawn, used and dropped without a copy of it in an object that Python cannot wipe.

use std::io;

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};
use zeroize::Zeroizing;

use super::{Digest, Int, Octets, digest, filled, round_id};
use crate::Hash;
use crate::error::{CoreError, fixed};
use crate::keno1::{self, RoundRange};

/// Boxed, so that moving it copies a pointer. The memory is overwritten when Python lets the object go.
#[pyclass(frozen, module = "keno._core")]
pub(super) struct EpochKey(Box<Zeroizing<Hash>>);

#[pymethods]
impl EpochKey {
    #[new]
    fn new(key: &Bound<'_, PyByteArray>) -> Result<Self, CoreError> {
        let given = Zeroizing::new(key.to_vec());
        let mut kept = Self::empty();
        kept.0.copy_from_slice(fixed::<32>("epoch_key", &given)?);
        Ok(kept)
    }

    #[staticmethod]
    fn draw() -> PyResult<Self> {
        let mut drawn = Self::empty();
        getrandom::fill(&mut drawn.0[..]).map_err(io::Error::from)?;
        Ok(drawn)
    }

    #[getter]
    fn key_commit<'py>(&self, py: Python<'py>) -> Digest<'py> {
        digest(py, &keno1::key_commit(&self.0))
    }

    fn commits<'py>(&self, py: Python<'py>, room: Octets<'py>, first: Int<u64>, count: Int<u32>) -> Digest<'py> {
        let range = RoundRange::new(fixed("room", &room)?, first.0, count.0 as usize)?;
        filled(py, count.0 as usize, 32, |out| range.commits(&self.0, out))
    }

    fn seed<'py>(&self, py: Python<'py>, room: Octets<'py>, round_number: Int<u64>) -> Digest<'py> {
        digest(py, &*Zeroizing::new(keno1::seed(&self.0, &round_id(&room, round_number.0)?)))
    }

    fn copy<'py>(&self, py: Python<'py>) -> Bound<'py, PyByteArray> {
        PyByteArray::new(py, &self.0[..])
    }

    fn reveal<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0[..])
    }
}

impl EpochKey {
    fn empty() -> Self {
        Self(Box::new(Zeroizing::new([0; 32])))
    }
}
