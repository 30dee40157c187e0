//! The pure core of Keno: the keno1 hashes, the draw, Merkle trees over evidence, and the settlement kernel.
//!
//! Everything here is a function of its arguments. The crate reads no clock, no randomness, no file and no
//! environment and logs nothing; it does not store keys. Only a settlement stream has state, that of its own bytes.
//! `python.rs` and `python/` (feature `python`) are the only files that know Python.

pub mod beacon;
pub mod copy;
pub mod draw;
pub mod error;
pub mod http_signatures;
pub mod keno1;
mod kernel;
mod lanes;
pub mod leaves;
pub mod merkle;
pub mod odds;
pub mod paytable;
pub mod picks;
pub mod receipts;
pub mod settle;
pub mod stream;
pub mod totals;
pub mod tree;
mod wins;

#[cfg(feature = "python")]
mod python;

pub use error::CoreError;

/// A SHA-256 digest.
pub type Hash = [u8; 32];
