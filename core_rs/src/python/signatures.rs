//! What requests and answers are signed with: Ed25519 (RFC 8032), HMAC-SHA256 (RFC 2104), and the digest of a body.
//!
//! The curve is `ed25519-dalek`'s. The GIL stays held: to give it away and wait for it costs more than 40 us.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hmac::Mac;
use pyo3::prelude::*;

use super::{Digest, Octets, digest};
use crate::error::{CoreError, fixed};
use crate::keno1::{self, keyed};

/// Boxed, so that moving it copies a pointer; overwritten when Python lets it go.
#[pyclass(frozen, module = "keno._core")]
pub(super) struct Ed25519Signer(Box<SigningKey>);

#[pymethods]
impl Ed25519Signer {
    #[new]
    fn new(secret: Octets<'_>) -> Result<Self, CoreError> {
        Ok(Self(Box::new(SigningKey::from_bytes(fixed("secret", &secret)?))))
    }

    #[getter]
    fn public<'py>(&self, py: Python<'py>) -> Digest<'py> {
        digest(py, self.0.verifying_key().as_bytes())
    }

    fn sign<'py>(&self, py: Python<'py>, message: Octets<'py>) -> Digest<'py> {
        digest(py, &self.0.sign(&message).to_bytes())
    }
}

#[pyclass(frozen, module = "keno._core")]
pub(super) struct Ed25519Verifier(Option<VerifyingKey>);

#[pymethods]
impl Ed25519Verifier {
    #[new]
    fn new(public_key: Octets<'_>) -> Result<Self, CoreError> {
        let key = VerifyingKey::from_bytes(fixed("public_key", &public_key)?);
        Ok(Self(key.ok().filter(|key| !key.is_weak())))
    }

    #[getter]
    fn is_sound(&self) -> bool {
        self.0.is_some()
    }

    fn verify(&self, signature: Octets<'_>, message: Octets<'_>) -> Result<bool, CoreError> {
        let signature = Signature::from_bytes(fixed("signature", &signature)?);
        Ok(self.0.as_ref().is_some_and(|key| key.verify_strict(&message, &signature).is_ok()))
    }
}

#[pyfunction]
pub(super) fn sha256<'py>(py: Python<'py>, message: Octets<'py>) -> Digest<'py> {
    digest(py, &keno1::sha256(&[&message]))
}

#[pyfunction]
pub(super) fn hmac_sha256<'py>(py: Python<'py>, key: Octets<'py>, message: Octets<'py>) -> Digest<'py> {
    digest(py, &keyed(&key).chain_update(&*message).finalize().into_bytes())
}
