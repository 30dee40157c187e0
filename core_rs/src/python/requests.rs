//! What requests are made of: the header fields as a parser calls them out, and what tells two of them apart.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use super::Octets;

const FINGERPRINT_BYTES: usize = 16;

/// Kept as they came: a request has few, and is asked for as many.
#[pyclass(module = "keno._core")]
pub(super) struct HeaderFields {
    fields: Vec<(Py<PyBytes>, Py<PyBytes>)>,
    fields_max: usize,
    size_bytes: usize,
    overflowed: bool,
}

#[pymethods]
impl HeaderFields {
    #[new]
    fn new(fields_max: usize) -> Self {
        Self { fields: Vec::new(), fields_max, size_bytes: 0, overflowed: false }
    }

    fn add(&mut self, name: Bound<'_, PyBytes>, value: Bound<'_, PyBytes>) {
        self.size_bytes += name.as_bytes().len() + value.as_bytes().len();
        if self.fields.len() < self.fields_max {
            self.fields.push((name.unbind(), value.unbind()));
        } else {
            self.overflowed = true;
        }
    }

    #[getter]
    fn overflowed(&self) -> bool {
        self.overflowed
    }

    #[getter]
    fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    fn take(&mut self) -> Self {
        let nothing = Self::new(self.fields_max);
        std::mem::replace(self, nothing)
    }

    fn values<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        let values = PyList::empty(py);
        for (each, value) in &self.fields {
            if each.as_bytes(py).eq_ignore_ascii_case(name.as_bytes()) {
                values.append(latin1(py, value.as_bytes(py)))?;
            }
        }
        Ok(values)
    }
}

fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => PyString::new(py, text),
        _ => PyString::new(py, &bytes.iter().copied().map(char::from).collect::<String>()),
    }
}

#[pyfunction]
pub(super) fn fingerprints<'py>(py: Python<'py>, lines: Octets<'py>) -> Vec<Bound<'py, PyBytes>> {
    let complete = lines.split_inclusive(|&byte| byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
    complete.map(|line| PyBytes::new(py, &blake3::hash(line).as_bytes()[..FINGERPRINT_BYTES])).collect()
}
