//! The one error of this crate: an argument that does not have the length or range its contract states.

use std::fmt;

use crate::copy::CopyFault;

/// Why a value was refused. Callers that check their input beforehand never see one.
#[allow(missing_docs)] // The fields are what the messages say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreError {
    /// A fixed-width value has another width.
    Length { what: &'static str, expected: usize, actual: usize },
    /// A column of fixed-width entries does not hold a whole number of them.
    Ragged { what: &'static str, width: usize, actual: usize },
    /// Columns that must have one entry each per row have different numbers of rows.
    Rows { what: &'static str, expected: usize, actual: usize },
    /// An integer lies outside of the range its contract states (inclusive bounds).
    Range { what: &'static str, min: u64, max: u64 },
    /// Two rounds of a stream have the same id.
    RepeatedRound,
    /// What an account was paid before is stated twice.
    RepeatedAccount { account_id: i64 },
    /// A keno number occurs twice in a set.
    Repeated { number: u8 },
    /// One row of a batch is wrong.
    Bet { index: usize, reason: BetFault },
    /// A paytable has the wrong shape.
    Paytable { reason: String },
    /// A stream of bets does not have the form of one.
    Copy { bets_read: u64, fault: CopyFault },
    /// A bet of a stream is wrong.
    StreamedBet { round_id: i64, bet_id: i64, reason: StreamFault },
    /// A stream was used after its end or an error, or asked for totals before its end.
    StreamState,
}

/// Why a single bet cannot be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BetFault {
    /// The stake is zero or negative.
    Stake,
    /// The bet has no pick or more than ten.
    PickCount,
    /// The bet names a paytable that was not passed.
    TermsIndex,
    /// What the maximum wins cut off does not fit into 64 bits.
    CutOverflow,
}

/// Why a bet of a stream cannot be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// As in columns.
    Bet(BetFault),
    /// The stream was not told of the bet's round.
    Round,
    /// The bet does not come after the one before it, by round and bet.
    Order,
}

impl fmt::Display for StreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bet(fault) => fault.fmt(f),
            Self::Round => f.write_str("its round is none of the stream's"),
            Self::Order => f.write_str("it does not come after the bet before it"),
        }
    }
}

impl fmt::Display for BetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stake => "its stake is not positive",
            Self::PickCount => "it does not have 1 to 10 picks",
            Self::TermsIndex => "its terms index names no terms",
            Self::CutOverflow => "what its maximum wins cut off does not fit into 64 bits",
        })
    }
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { what, expected, actual } => {
                write!(f, "{what} must have {expected} bytes, not {actual}")
            }
            Self::Ragged { what, width, actual } => {
                write!(f, "{what} must have a multiple of {width} bytes, not {actual}")
            }
            Self::Rows { what, expected, actual } => {
                write!(f, "{what} must have {expected} entries, not {actual}")
            }
            Self::Range { what, min, max } => write!(f, "{what} must be from {min} to {max}"),
            Self::RepeatedRound => f.write_str("two rounds have the same id"),
            Self::RepeatedAccount { account_id } => write!(f, "what account {account_id} was paid is stated twice"),
            Self::Repeated { number } => write!(f, "number {number} occurs twice"),
            Self::Bet { index, reason } => write!(f, "bet {index}: {reason}"),
            Self::Paytable { reason } => write!(f, "paytable: {reason}"),
            Self::Copy { bets_read, fault } => write!(f, "COPY data after {bets_read} bets: {fault}"),
            Self::StreamedBet { round_id, bet_id, reason } => write!(f, "bet {bet_id} of round {round_id}: {reason}"),
            Self::StreamState => f.write_str("the stream is over, has failed, or has no totals yet"),
        }
    }
}

impl std::error::Error for CoreError {}

/// Checks that `bytes` has exactly `N` bytes. `what` names the value in the error.
pub fn fixed<'a, const N: usize>(what: &'static str, bytes: &'a [u8]) -> Result<&'a [u8; N], CoreError> {
    bytes.try_into().map_err(|_| CoreError::Length { what, expected: N, actual: bytes.len() })
}

/// Checks that `bytes` is a whole number of entries of `width` bytes, and returns how many.
pub fn rows(what: &'static str, bytes: &[u8], width: usize) -> Result<usize, CoreError> {
    if width == 0 {
        return Err(CoreError::Range { what: "width", min: 1, max: usize::MAX as u64 });
    }
    if bytes.len() % width != 0 {
        return Err(CoreError::Ragged { what, width, actual: bytes.len() });
    }
    Ok(bytes.len() / width)
}

/// Checks that `bytes` is exactly `expected` entries of `width` bytes.
pub fn exact_rows(what: &'static str, bytes: &[u8], width: usize, expected: usize) -> Result<(), CoreError> {
    let actual = rows(what, bytes, width)?;
    if actual != expected {
        return Err(CoreError::Rows { what, expected, actual });
    }
    Ok(())
}
