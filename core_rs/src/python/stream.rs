//! The settlement stream as a Python class. One thread at a time may use it; another meanwhile gets a RuntimeError.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{Digest, Int, Octets, Terms};
use crate::error::{CoreError, fixed};
use crate::stream;

/// Round, operator, terms; then count of bets, stakes, payouts, cuts, expected payouts.
type Total<'py> = (i64, Bound<'py, PyBytes>, u8, i64, i64, i64, i64, u128);

/// Id, the numbers of its draw, terms, and what accounts were paid before.
type Round<'py> = (Int<u64>, Octets<'py>, Vec<PyRef<'py, Terms>>, Octets<'py>);

#[pyclass(module = "keno._core")]
pub(super) struct SettlementStream(stream::SettlementStream);

#[pymethods]
impl SettlementStream {
    #[new]
    fn new(rounds: Vec<Round>) -> Result<Self, CoreError> {
        let rounds = rounds.into_iter().map(|(id, numbers, terms, paid)| {
            let max = i64::MAX as u64;
            let id = i64::try_from(id.0).map_err(|_| CoreError::Range { what: "a round id", min: 0, max })?;
            let terms = terms.iter().map(|terms| Arc::clone(&terms.0)).collect();
            stream::Round::new(id, fixed("numbers", &numbers)?, terms)?.after(&paid)
        });
        stream::SettlementStream::new(rounds.collect::<Result<_, CoreError>>()?).map(Self)
    }

    fn feed<'py>(&mut self, py: Python<'py>, chunk: Octets<'py>) -> Digest<'py> {
        let chunk = &*chunk;
        Ok(PyBytes::new(py, &py.detach(|| self.0.feed(chunk))?))
    }

    fn finish<'py>(&mut self, py: Python<'py>) -> Digest<'py> {
        Ok(PyBytes::new(py, &py.detach(|| self.0.finish())?))
    }

    fn totals<'py>(&self, py: Python<'py>) -> Result<Vec<Total<'py>>, CoreError> {
        let total = |total: &crate::totals::Total| {
            let operator_id = PyBytes::new(py, &total.group.operator_id.to_be_bytes());
            let (group, sums) =
                (total.group, (total.bets_count, total.staked_minor, total.paid_minor, total.cut_minor));
            (group.round_id, operator_id, group.terms, sums.0, sums.1, sums.2, sums.3, total.expected_parts)
        };
        Ok(self.0.totals()?.iter().map(total).collect())
    }

    #[getter]
    fn winners_count(&self) -> u64 {
        self.0.winners_count()
    }

    #[getter]
    fn last_bet_id(&self) -> Option<i64> {
        self.0.last_bet_id()
    }
}
