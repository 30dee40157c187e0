//! Trees that are kept for many paths: those of a round's bets, and of the receipts of a batch.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{Digest, Int, Octets, digests};
use crate::Hash;
use crate::error::{CoreError, fixed, rows};
use crate::receipts::Batch;
use crate::tree::Tree;

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
    let batch = py.detach(|| Batch::new(places, leaf_hashes))?;
    let mut path = Vec::new();
    let path_of = |index| -> Digest<'py> {
        path.clear();
        batch.tree.path(index)?.for_each(|hash| path.extend_from_slice(hash));
        Ok(PyBytes::new(py, &path))
    };
    let paths = (0..batch.tree.size()).map(path_of).collect::<PyResult<_>>()?;
    Ok((PyBytes::new(py, &batch.message), paths))
}
