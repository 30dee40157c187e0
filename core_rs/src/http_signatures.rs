//! The two profiles of RFC 9421 by which requests and answers are signed: their fields, and the bytes that are signed.
//!
//! Requests are read strictly: what is not in the one canonical spelling is not in the profile, so no two readers can
//! disagree about what it means. There are no keys, clocks or nonces here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::Hash;
use crate::keno1::sha256;

/// What a request signs, in this order.
pub const REQUEST_COMPONENTS: &str = r#"("@method" "@target-uri" "content-digest")"#;
/// What an answer signs.
pub const ANSWER_COMPONENTS: &str = r#"("@status" "content-digest" "signature";req)"#;
/// The most bytes of each of the three fields of a request.
pub const FIELD_BYTES_MAX: usize = 512;

const PARAMETERS: usize = 4;
const LABEL_BYTES_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 64;
const CREATED_DIGITS_MAX: usize = 15;

/// A signature by its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Their names are those of the algorithms.
pub enum Signature {
    Ed25519([u8; 64]),
    HmacSha256(Hash),
}

/// What the fields of a request say; nothing in it is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The key that it says it is signed with: 1 to 64 of `A-Za-z0-9_-`.
    pub key_id: String,
    /// When it says it was signed, in seconds.
    pub created_s: u64,
    /// 1 to 64 printable ASCII characters.
    pub nonce: String,
    /// The signature parameters as received: everything after `label=`.
    pub params: String,
    /// The Signature field as received.
    pub field: String,
    /// What it holds, of the algorithm that the parameters name.
    pub signature: Signature,
    /// The SHA-256 that it says its body has.
    pub digest: Hash,
}

/// Which of a request's fields the profile does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A field is longer than `FIELD_BYTES_MAX`, or not ASCII.
    Field,
    /// Signature-Input is not a label, the components and four parameters.
    Input,
    /// A parameter is there twice, so another is not.
    Parameters,
    /// Signature is not that label and canonical base64 of as many bytes as its algorithm has.
    Signature,
    /// Content-Digest is not canonical base64 of one SHA-256.
    Digest,
}

impl Signed {
    /// Reads Signature-Input, Signature and Content-Digest.
    pub fn read(input: &str, signature: &str, content_digest: &str) -> Result<Self, Malformed> {
        if [input, signature, content_digest].iter().any(|text| text.len() > FIELD_BYTES_MAX || !text.is_ascii()) {
            return Err(Malformed::Field);
        }
        let (label, params) = input.split_once('=').filter(|(label, _)| is_label(label)).ok_or(Malformed::Input)?;
        let found = Parameters::read(params).ok_or(Malformed::Input)?;
        let Parameters { created_s: Some(created_s), nonce: Some(nonce), key_id: Some(key_id), alg: Some(alg) } = found
        else {
            return Err(Malformed::Parameters);
        };
        let raw = signature.strip_prefix(label).and_then(|rest| rest.strip_prefix('='));
        let found = match alg {
            Alg::Ed25519 => raw.and_then(bytes_of).map(Signature::Ed25519),
            Alg::HmacSha256 => raw.and_then(bytes_of).map(Signature::HmacSha256),
        };
        Ok(Self {
            key_id: key_id.into(),
            created_s,
            nonce: nonce.into(),
            params: params.into(),
            field: signature.into(),
            signature: found.ok_or(Malformed::Signature)?,
            digest: content_digest.strip_prefix("sha-256=").and_then(bytes_of).ok_or(Malformed::Digest)?,
        })
    }

    /// Whether this is the digest of the body, which is raw.
    #[must_use]
    pub fn is_of(&self, body: &[u8]) -> bool {
        sha256(&[body]) == self.digest
    }

    /// The bytes that such a request would have signed; None where its method or target can't be.
    #[must_use]
    pub fn base(&self, method: &str, target_uri: &str) -> Option<String> {
        request_base(method, target_uri, &digest_field(&self.digest), &self.params)
    }
}

/// The bytes that a request signs (RFC 9421 section 2.5): None where the method is not letters, or the absolute target
/// not printable ASCII.
#[must_use]
pub fn request_base(method: &str, target_uri: &str, content_digest: &str, params: &str) -> Option<String> {
    let is_signable = !method.is_empty()
        && method.bytes().all(|byte| byte.is_ascii_alphabetic())
        && !target_uri.is_empty()
        && target_uri.bytes().all(|byte| byte.is_ascii_graphic());
    is_signable.then(|| {
        [
            "\"@method\": ",
            method,
            "\n\"@target-uri\": ",
            target_uri,
            "\n\"content-digest\": ",
            content_digest,
            "\n\"@signature-params\": ",
            params,
        ]
        .concat()
    })
}

/// The fields of a signed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // They have the fields' names.
pub struct SignedAnswer {
    pub content_digest: String,
    pub signature_input: String,
    pub signature: String,
}

impl SignedAnswer {
    /// Signs with `sign`, which is the algorithm that `alg` names. `request_signature` is the request's Signature field.
    pub fn new<const N: usize>(
        status: u16,
        body: &[u8],
        request_signature: &str,
        (key_id, alg): (&str, &str),
        now_s: u64,
        sign: impl FnOnce(&[u8]) -> [u8; N],
    ) -> Self {
        let content_digest = content_digest(body);
        let params = format!("{ANSWER_COMPONENTS};created={now_s};keyid=\"{key_id}\";alg=\"{alg}\"");
        let base = format!(
            "\"@status\": {status}\n\"content-digest\": {content_digest}\n\"signature\";req: {request_signature}\n\
             \"@signature-params\": {params}"
        );
        let signature = format!("keno=:{}:", BASE64.encode(sign(base.as_bytes())));
        Self { content_digest, signature_input: format!("keno={params}"), signature }
    }
}

/// The Content-Digest (RFC 9530) of a body.
#[must_use]
pub fn content_digest(body: &[u8]) -> String {
    digest_field(&sha256(&[body]))
}

fn digest_field(digest: &Hash) -> String {
    format!("sha-256=:{}:", BASE64.encode(digest))
}

enum Alg {
    Ed25519,
    HmacSha256,
}

/// Those that were there.
#[derive(Default)]
struct Parameters<'a> {
    created_s: Option<u64>,
    nonce: Option<&'a str>,
    key_id: Option<&'a str>,
    alg: Option<Alg>,
}

impl<'a> Parameters<'a> {
    /// The components and four parameters in any order; None for anything else.
    fn read(params: &'a str) -> Option<Self> {
        let mut rest = params.strip_prefix(REQUEST_COMPONENTS)?;
        let mut found = Self::default();
        for _ in 0..PARAMETERS {
            let (name, value) = rest.strip_prefix(';')?.split_once('=')?;
            rest = match name {
                "created" => {
                    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
                    let (created_s, behind) = value.split_at(digits);
                    let is_canonical = digits <= CREATED_DIGITS_MAX && (digits == 1 || !created_s.starts_with('0'));
                    found.created_s = Some(created_s.parse().ok().filter(|_| is_canonical)?);
                    behind
                }
                "nonce" => {
                    // Quotes and backslashes would be escaped in RFC 8941; nonces have neither, so the next quote ends it.
                    let (nonce, behind) = quoted(value, |byte| matches!(byte, b' '..=b'~') && byte != b'\\')?;
                    found.nonce = Some(nonce);
                    behind
                }
                "keyid" => {
                    let (key_id, behind) =
                        quoted(value, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))?;
                    found.key_id = Some(key_id);
                    behind
                }
                "alg" => {
                    let (alg, behind) = quoted(value, |byte| byte.is_ascii_graphic())?;
                    found.alg = Some(match alg {
                        "ed25519" => Alg::Ed25519,
                        "hmac-sha256" => Alg::HmacSha256,
                        _ => return None,
                    });
                    behind
                }
                _ => return None,
            };
        }
        rest.is_empty().then_some(found)
    }
}

/// What stands in double quotes, 1 to 64 of the allowed bytes, and what comes behind.
fn quoted(value: &str, is_allowed: impl Fn(u8) -> bool) -> Option<(&str, &str)> {
    let (text, behind) = value.strip_prefix('"')?.split_once('"')?;
    ((1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_allowed)).then_some((text, behind))
}

fn is_label(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= LABEL_BYTES_MAX
        && bytes.next().is_some_and(|first| matches!(first, b'a'..=b'z' | b'*'))
        && bytes.all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'*' | b'-'))
}

/// `:base64:` of exactly N bytes, in its only canonical spelling.
fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let digits = text.strip_prefix(':')?.strip_suffix(':')?;
    (BASE64.decode_slice(digits, &mut bytes) == Ok(N)).then_some(bytes)
}
