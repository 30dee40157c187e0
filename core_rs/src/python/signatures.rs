//! Ed25519 (RFC 8032), and requests and answers that are signed with it or with HMAC-SHA256 (RFC 2104).
//!
//! The curve is `ed25519-dalek`'s. The GIL stays held: to give it away and wait for it costs more than 40 us.

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hmac::Mac;
use pyo3::prelude::*;

use super::{Digest, Int, Octets, digest};
use crate::error::{CoreError, fixed};
use crate::http_signatures::{self, Malformed, Signature, Signed, SignedAnswer};
use crate::keno1::keyed;

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

    fn sign_answer(
        &self,
        status: Int<u16>,
        body: Octets<'_>,
        request_signature: &str,
        key_id: &str,
        now_s: Int<u64>,
    ) -> Fields {
        let by = (key_id, "ed25519");
        fields(SignedAnswer::new(status.0, &body, request_signature, by, now_s.0, |base| self.0.sign(base).to_bytes()))
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
        Ok(self.signed(fixed("signature", &signature)?, &message))
    }
}

impl Ed25519Verifier {
    fn signed(&self, signature: &[u8; 64], message: &[u8]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.as_ref().is_some_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

/// The three fields of a signed answer.
type Fields = (String, String, String);

fn fields(answer: SignedAnswer) -> Fields {
    (answer.content_digest, answer.signature_input, answer.signature)
}

#[pyfunction]
pub(super) fn mac_answer(
    secret: Octets<'_>,
    status: Int<u16>,
    body: Octets<'_>,
    request_signature: &str,
    key_id: &str,
    now_s: Int<u64>,
) -> Fields {
    let sign = |base: &[u8]| keyed(&secret).chain_update(base).finalize().into_bytes().into();
    fields(SignedAnswer::new(status.0, &body, request_signature, (key_id, "hmac-sha256"), now_s.0, sign))
}

#[pyclass(frozen, module = "keno._core")]
pub(super) struct SignedRequest(Signed);

#[derive(IntoPyObject)]
enum Read {
    Signed(SignedRequest),
    Malformed(&'static str),
}

#[pymethods]
impl SignedRequest {
    #[staticmethod]
    fn read(input: &str, signature: &str, content_digest: &str) -> Read {
        match Signed::read(input, signature, content_digest) {
            Ok(signed) => Read::Signed(Self(signed)),
            Err(Malformed::Field) => Read::Malformed("field"),
            Err(Malformed::Input) => Read::Malformed("input"),
            Err(Malformed::Parameters) => Read::Malformed("parameters"),
            Err(Malformed::Signature) => Read::Malformed("signature"),
            Err(Malformed::Digest) => Read::Malformed("digest"),
        }
    }

    #[getter]
    fn key_id(&self) -> &str {
        &self.0.key_id
    }

    #[getter]
    fn algorithm(&self) -> &'static str {
        match self.0.signature {
            Signature::Ed25519(_) => "ed25519",
            Signature::HmacSha256(_) => "hmac-sha256",
        }
    }

    #[getter]
    fn created_s(&self) -> u64 {
        self.0.created_s
    }

    #[getter]
    fn nonce(&self) -> &str {
        &self.0.nonce
    }

    #[getter]
    fn field(&self) -> &str {
        &self.0.field
    }

    fn is_of(&self, body: Octets<'_>) -> bool {
        self.0.is_of(&body)
    }

    fn has_signature_of(&self, key: &Ed25519Verifier, method: &str, target_uri: &str) -> bool {
        let Signature::Ed25519(signature) = &self.0.signature else { return false };
        self.0.base(method, target_uri).is_some_and(|base| key.signed(signature, base.as_bytes()))
    }

    fn has_mac_of(&self, secret: Octets<'_>, method: &str, target_uri: &str) -> bool {
        let Signature::HmacSha256(mac) = &self.0.signature else { return false };
        let base = self.0.base(method, target_uri);
        base.is_some_and(|base| keyed(&secret).chain_update(base).verify_slice(mac).is_ok())
    }
}

#[pyfunction]
pub(super) fn request_base(method: &str, target_uri: &str, content_digest: &str, params: &str) -> Option<String> {
    http_signatures::request_base(method, target_uri, content_digest, params)
}

#[pyfunction]
pub(super) fn content_digest(body: Octets<'_>) -> String {
    http_signatures::content_digest(&body)
}
