//! PostgreSQL's binary COPY format, as far as settlement speaks it: bets in, payouts out.
//!
//! A `Reader` takes the bytes in pieces of any length and hands on bets, never more than one of them held back. It checks
//! the form only; what a bet says is for `stream.rs`. The format is the one of "COPY", section "Binary Format", in
//! PostgreSQL's manual: a header, tuples of a 16-bit field count and 32-bit lengths before the fields, a count of -1 as
//! trailer; all numbers big-endian. No field here may be null, so all tuples of one kind have one length.

use std::fmt;

use crate::error::CoreError;
use crate::picks::MASK_BYTES;
use crate::settle::Settled;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// The signature, 32 bits of flags, and the length of the header extension.
const HEADER_BYTES: usize = SIGNATURE.len() + 4 + 4;
/// Set bits up here mean something that a reader must know; none is in use.
const CRITICAL_FLAGS: u32 = 0xffff_0000;
/// What stands for a field count after the last tuple.
pub const TRAILER: [u8; 2] = [0xff; 2];

/// The fields of a bet with their lengths.
const BET_FIELDS: [(&str, usize); 7] = [
    ("round_id", 8),
    ("bet_id", 8),
    ("operator_id", 16),
    ("account_id", 8),
    ("picks", MASK_BYTES),
    ("stake_minor", 8),
    ("terms", 2),
];
const BET_BYTES: usize = 90;
/// Where each field's length stands in a bet; the field follows it.
const BET_AT: [usize; 7] = {
    let (mut at, mut field, mut next) = ([0; 7], 0, 2);
    while field < at.len() {
        at[field] = next;
        next += 4 + BET_FIELDS[field].1;
        field += 1;
    }
    assert!(next == BET_BYTES, "the fields fill the tuple");
    at
};

/// Bytes of a payout row: bet_id and round_id (int8), account_id (int8), hits (int2), payout_minor and cut_minor (int8).
pub const PAYOUT_BYTES: usize = 2 + 5 * 12 + 6;

/// Why bytes are not a stream of bets.
#[allow(missing_docs)] // The fields are what the messages say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFault {
    /// The stream does not begin as binary COPY does.
    Signature,
    /// The header demands something unknown of its reader.
    Flags { flags: u32 },
    /// The header's extension has a negative length.
    Extension,
    /// A tuple has another number of fields than a bet.
    FieldCount { actual: i16 },
    /// A field has another length than in a bet; a null has -1.
    FieldLength { field: &'static str, expected: usize, actual: i32 },
    /// The input ended before its trailer.
    Truncated,
    /// Bytes follow the trailer.
    AfterTrailer,
}

impl fmt::Display for CopyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature => f.write_str("the signature is not that of binary COPY"),
            Self::Flags { flags } => write!(f, "the header has unknown critical flags: {flags:#010x}"),
            Self::Extension => f.write_str("the header's extension has a negative length"),
            Self::FieldCount { actual } => write!(f, "a bet must have {} fields, not {actual}", BET_FIELDS.len()),
            Self::FieldLength { field, actual: -1, .. } => write!(f, "{field} is null"),
            Self::FieldLength { field, expected, actual } => {
                write!(f, "{field} must have {expected} bytes, not {actual}")
            }
            Self::Truncated => f.write_str("it ended before its trailer"),
            Self::AfterTrailer => f.write_str("bytes follow its trailer"),
        }
    }
}

/// One tuple of the right form; its fields are read where they stand.
#[derive(Clone, Copy)]
pub struct BetRow<'a>(&'a [u8; BET_BYTES]);

impl<'a> BetRow<'a> {
    #[inline(always)]
    fn parse(bytes: &'a [u8; BET_BYTES]) -> Result<Self, CopyFault> {
        let row = Self(bytes);
        let mut wrong = u32::from(u16::from_be_bytes(row.at(0)) ^ BET_FIELDS.len() as u16);
        for (at, (_, expected)) in BET_AT.into_iter().zip(BET_FIELDS) {
            wrong |= u32::from_be_bytes(row.at(at)) ^ expected as u32;
        }
        if wrong != 0 { Err(diagnose(bytes)) } else { Ok(row) }
    }

    #[inline(always)]
    fn at<const N: usize>(&self, start: usize) -> [u8; N] {
        self.0[start..start + N].try_into().expect("N bytes")
    }

    #[inline(always)]
    fn field<const N: usize>(&self, field: usize) -> [u8; N] {
        self.at(BET_AT[field] + 4)
    }

    /// The round the bet is of.
    pub fn round_id(&self) -> i64 {
        i64::from_be_bytes(self.field(0))
    }

    /// The bet.
    pub fn bet_id(&self) -> i64 {
        i64::from_be_bytes(self.field(1))
    }

    /// Its operator; as a number it sorts like its bytes.
    pub fn operator_id(&self) -> u128 {
        u128::from_be_bytes(self.field(2))
    }

    /// The account that staked.
    pub fn account_id(&self) -> i64 {
        i64::from_be_bytes(self.field(3))
    }

    /// The mask of its picks.
    pub fn picks(&self) -> [u8; MASK_BYTES] {
        self.field(4)
    }

    /// The stake, in minor units.
    pub fn stake_minor(&self) -> i64 {
        i64::from_be_bytes(self.field(5))
    }

    /// Which of its round's terms holds.
    pub fn terms(&self) -> i16 {
        i16::from_be_bytes(self.field(6))
    }
}

/// What is wrong with a tuple, of which there may be only the beginning.
#[cold]
fn diagnose(bytes: &[u8]) -> CopyFault {
    let Some((count, _)) = bytes.split_first_chunk() else {
        return CopyFault::Truncated;
    };
    let actual = i16::from_be_bytes(*count);
    if usize::try_from(actual) != Ok(BET_FIELDS.len()) {
        return CopyFault::FieldCount { actual };
    }
    for (at, (field, expected)) in BET_AT.into_iter().zip(BET_FIELDS) {
        let Some((length, _)) = bytes.get(at..).and_then(<[u8]>::split_first_chunk) else {
            return CopyFault::Truncated;
        };
        let actual = i32::from_be_bytes(*length);
        if usize::try_from(actual) != Ok(expected) {
            return CopyFault::FieldLength { field, expected, actual };
        }
    }
    CopyFault::Truncated
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    /// So many bytes of the header's extension are still to be skipped.
    Extension(usize),
    Tuples,
    Ended,
}

/// Takes a stream apart into bets.
pub struct Reader {
    state: State,
    bets_read: u64,
    /// The beginning of a header or tuple whose end has not arrived.
    held: [u8; BET_BYTES],
    held_count: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self { state: State::Header, bets_read: 0, held: [0; BET_BYTES], held_count: 0 }
    }
}

impl Reader {
    /// Hands each bet that is complete with this chunk to `take`, in order. After an error there is no going on.
    pub fn read(
        &mut self,
        mut chunk: &[u8],
        mut take: impl FnMut(BetRow) -> Result<(), CoreError>,
    ) -> Result<(), CoreError> {
        while !chunk.is_empty() {
            match self.state {
                State::Header => self.header(&mut chunk)?,
                State::Extension(left) => {
                    let skipped = left.min(chunk.len());
                    chunk = &chunk[skipped..];
                    self.state = if skipped < left { State::Extension(left - skipped) } else { State::Tuples };
                }
                State::Tuples => self.tuples(&mut chunk, &mut take)?,
                State::Ended => return Err(self.fault(CopyFault::AfterTrailer)),
            }
        }
        Ok(())
    }

    /// Checks that the stream has ended.
    pub fn finish(&self) -> Result<(), CoreError> {
        match self.state {
            State::Ended => Ok(()),
            State::Tuples => Err(self.fault(diagnose(&self.held[..self.held_count]))),
            State::Header | State::Extension(_) => Err(self.fault(CopyFault::Truncated)),
        }
    }

    fn header(&mut self, chunk: &mut &[u8]) -> Result<(), CoreError> {
        if !self.hold(HEADER_BYTES, chunk) {
            return Ok(());
        }
        let header = &self.held[..HEADER_BYTES];
        let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let (flags, extension) = (word(SIGNATURE.len()), word(SIGNATURE.len() + 4) as i32);
        if !header.starts_with(SIGNATURE) {
            return Err(self.fault(CopyFault::Signature));
        }
        if flags & CRITICAL_FLAGS != 0 {
            return Err(self.fault(CopyFault::Flags { flags }));
        }
        let extension = usize::try_from(extension).map_err(|_| self.fault(CopyFault::Extension))?;
        self.state = if extension == 0 { State::Tuples } else { State::Extension(extension) };
        self.held_count = 0;
        Ok(())
    }

    #[inline]
    fn tuples(
        &mut self,
        chunk: &mut &[u8],
        take: &mut impl FnMut(BetRow) -> Result<(), CoreError>,
    ) -> Result<(), CoreError> {
        if self.held_count == 0 {
            while let Some((tuple, rest)) = chunk.split_first_chunk() {
                if tuple.starts_with(&TRAILER) {
                    break;
                }
                self.bet(tuple, take)?;
                *chunk = rest;
            }
        }
        if !self.hold(TRAILER.len(), chunk) {
            return Ok(());
        }
        if self.held.starts_with(&TRAILER) {
            self.state = State::Ended;
            self.held_count = 0;
        } else if self.hold(BET_BYTES, chunk) {
            let tuple = self.held;
            self.bet(&tuple, take)?;
            self.held_count = 0;
        }
        Ok(())
    }

    #[inline(always)]
    fn bet(
        &mut self,
        tuple: &[u8; BET_BYTES],
        take: &mut impl FnMut(BetRow) -> Result<(), CoreError>,
    ) -> Result<(), CoreError> {
        let row = BetRow::parse(tuple).map_err(|fault| self.fault(fault))?;
        self.bets_read += 1;
        take(row)
    }

    /// Moves bytes from the chunk until `wanted` are held; says whether they are.
    fn hold(&mut self, wanted: usize, chunk: &mut &[u8]) -> bool {
        let missing = wanted.saturating_sub(self.held_count).min(chunk.len());
        let (taken, rest) = chunk.split_at(missing);
        self.held[self.held_count..self.held_count + missing].copy_from_slice(taken);
        self.held_count += missing;
        *chunk = rest;
        self.held_count >= wanted
    }

    #[cold]
    fn fault(&self, fault: CopyFault) -> CoreError {
        CoreError::Copy { bets_read: self.bets_read, fault }
    }
}

/// Appends the header of a stream.
pub fn write_header(out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0; HEADER_BYTES - SIGNATURE.len()]);
}

/// Appends one payout.
#[inline]
pub fn write_payout(out: &mut Vec<u8>, bet_id: i64, round_id: i64, account_id: i64, settled: Settled) {
    let mut row = [0; PAYOUT_BYTES];
    row[..2].copy_from_slice(&6_u16.to_be_bytes());
    let mut at = 2;
    let mut field = |value: &[u8]| {
        row[at..at + 4].copy_from_slice(&(value.len() as u32).to_be_bytes());
        row[at + 4..at + 4 + value.len()].copy_from_slice(value);
        at += 4 + value.len();
    };
    for id in [bet_id, round_id, account_id] {
        field(&id.to_be_bytes());
    }
    field(&u16::from(settled.hits).to_be_bytes());
    field(&settled.payout_minor.to_be_bytes());
    field(&settled.cut_minor.to_be_bytes());
    out.extend_from_slice(&row);
}
