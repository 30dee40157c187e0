//! Trees that are kept for many paths: those of a round's bets, and of the receipts of a batch.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{Int, Octets, digests};
use crate::Hash;
use crate::error::{CoreError, fixed, rows};
use crate::receipts::Batch;
use crate::tree::Tree;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[pyclass(frozen, module = "keno._core")]
pub(super) struct MerkleTree(Tree);

#[pymethods]
impl MerkleTree {
    #[new]
    fn new(py: Python<'_>, hashes: Octets<'_>) -> Result<Self, CoreError> {
        rows("hashes", &hashes, 32)?;
        let hashes = &*hashes;
        let entry = |hash: &[u8]| -> Hash { hash.try_into().expect("32 bytes") };
        Ok(Self(py.detach(|| Tree::new(hashes.chunks_exact(32).map(entry).collect()))))
    }

    fn __len__(&self) -> usize {
        self.0.size()
    }

    #[getter]
    fn root<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.root())
    }

    fn path<'py>(&self, py: Python<'py>, index: Int<usize>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let path: Vec<Hash> = self.0.path(index.0)?.copied().collect();
        Ok(digests(py, &path))
    }

    fn index_of(&self, py: Python<'_>, leaf_hash: Octets<'_>) -> Result<Option<usize>, CoreError> {
        let leaf_hash = fixed("leaf_hash", &leaf_hash)?;
        Ok(py.detach(|| self.0.index_of(leaf_hash)))
    }
}

#[pyfunction]
pub(super) fn receipt_batch<'py>(
    py: Python<'py>,
    places: Octets<'py>,
    leaf_hashes: Octets<'py>,
) -> PyResult<(Bound<'py, PyBytes>, Vec<Bound<'py, PyBytes>>)> {
    let (places, leaf_hashes) = (&*places, &*leaf_hashes);
    let (batch, digits) = py.detach(|| {
        let batch = Batch::new(places, leaf_hashes)?;
        let digits = batch.tree.map(hex);
        Ok::<_, CoreError>((batch, digits))
    })?;
    let mut text = Vec::new();
    let path_of = |index| -> PyResult<Bound<'py, PyBytes>> {
        text.clear();
        text.push(b'"');
        digits.path(index)?.for_each(|hash| text.extend_from_slice(hash));
        text.push(b'"');
        Ok(PyBytes::new(py, &text))
    };
    let paths = (0..digits.size()).map(path_of).collect::<PyResult<_>>()?;
    Ok((PyBytes::new(py, &batch.message), paths))
}

fn hex(hash: &Hash) -> [u8; 64] {
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    text
}
