//! Any bytes as a stream of bets: no panic, and the same outcome however they are cut.

#![no_main]

use std::sync::Arc;

use keno_core::CoreError;
use keno_core::paytable::Terms;
use keno_core::stream::{Round, SettlementStream};
use keno_core::totals::Total;
use libfuzzer_sys::fuzz_target;

const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const LENGTHS: [u32; 7] = [8, 8, 16, 8, 10, 8, 2];
const FIELDS_BYTES: usize = 60;

fn stream() -> SettlementStream {
    let row = |picks: u64| (0..=picks).map(|hits| hits * hits).collect();
    let rows: Vec<Vec<u64>> = (0..=10).map(|picks| if picks == 0 { vec![] } else { row(picks) }).collect();
    let limited = [(1, None), (7, Some(1_500_000))];
    let terms = limited
        .map(|(scale, round_win_max)| Arc::new(Terms::new(&rows, scale, 1_000_000, round_win_max).expect("terms")));
    let numbers = std::array::from_fn(|step| 4 * step as u8 + 1);
    let round = |id| Round::new(id, &numbers, terms.to_vec()).expect("a drawn round");
    SettlementStream::new(vec![round(0), round(1)]).expect("two rounds")
}

fn run(bytes: &[u8], length: usize) -> Result<(Vec<u8>, Vec<Total>), CoreError> {
    let (mut stream, mut out) = (stream(), vec![]);
    for chunk in bytes.chunks(length) {
        out.extend(stream.feed(chunk)?);
    }
    out.extend(stream.finish()?);
    Ok((out, stream.totals()?.to_vec()))
}

fn check(bytes: &[u8], length: usize) {
    assert_eq!(run(bytes, length), run(bytes, bytes.len().max(1)));
}

/// The bytes as fields of bets, so that the fuzzer need not find out how tuples begin.
fn tuples(bytes: &[u8]) -> Vec<u8> {
    let mut stream = HEADER.to_vec();
    for mut fields in bytes.chunks_exact(FIELDS_BYTES) {
        stream.extend((LENGTHS.len() as u16).to_be_bytes());
        for length in LENGTHS {
            let (field, rest) = fields.split_at(length as usize);
            stream.extend(length.to_be_bytes());
            stream.extend(field);
            fields = rest;
        }
    }
    stream.extend([0xff; 2]);
    stream
}

fuzz_target!(|data: &[u8]| {
    let Some((&length, bytes)) = data.split_first() else { return };
    let length = usize::from(length) + 1;
    check(bytes, length);
    check(&tuples(bytes), length);
});
