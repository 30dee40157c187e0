//! SHA-256 compressions of several independent streams side by side.
//!
//! With the SHA instructions one stream waits for its own rounds most of the time; four streams fill the gaps, and
//! draws in bulk come out about 1.6 times as fast. Without the instructions each stream is compressed by `sha2`, which is also
//! what the tests compare with. Rows of one width are hashed whole; other messages, their padding and HMAC are the callers' business.

use sha2::block_api::compress256;

use crate::Hash;

/// How many streams run side by side.
pub(crate) const LANES: usize = 4;
/// The states of all streams.
pub(crate) type States = [[u32; 8]; LANES];
/// One block for every stream.
pub(crate) type Blocks = [[u8; 64]; LANES];

/// The initial state of SHA-256 (FIPS 180-4, 5.3.3).
pub(crate) const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Takes one block into every state.
pub(crate) fn compress(states: &mut States, blocks: &Blocks) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sha") && std::arch::is_x86_feature_detected!("sse4.1") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { x86::compress(states, blocks) };
    }
    for (state, block) in states.iter_mut().zip(blocks) {
        compress256(state, std::slice::from_ref(block));
    }
}

/// SHA-256 of `prefix row` for each row of `width` bytes, 32 bytes each, which it hands to `take` in order.
pub(crate) fn hash_rows(prefix: u8, rows: &[u8], width: usize, mut take: impl FnMut(Hash)) {
    let length = 1 + width;
    let mut message: Vec<Blocks> = vec![[[0; 64]; LANES]; (length + 9).div_ceil(64)];
    let bits = (8 * length as u64).to_be_bytes();
    for lane in 0..LANES {
        message[0][lane][0] = prefix;
        message[length / 64][lane][length % 64] = 0x80;
        message.last_mut().expect("a block at least")[lane][56..].copy_from_slice(&bits);
    }
    for group in rows.chunks(LANES * width) {
        for (lane, row) in group.chunks_exact(width).enumerate() {
            let (first, rest) = row.split_at(width.min(63));
            message[0][lane][1..=first.len()].copy_from_slice(first);
            for (blocks, part) in message[1..].iter_mut().zip(rest.chunks(64)) {
                blocks[lane][..part.len()].copy_from_slice(part);
            }
        }
        let mut states = [INITIAL; LANES];
        message.iter().for_each(|blocks| compress(&mut states, blocks));
        // Lanes beyond the last row hash an older one once more.
        states[..group.len() / width].iter().for_each(|state| take(to_bytes(state)));
    }
}

/// A state as the hash that it is.
pub(crate) fn to_bytes(state: &[u32; 8]) -> Hash {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe)] // Rust 1.85 still calls intrinsics without pointers unsafe.
#[allow(clippy::needless_range_loop)] // One index for four arrays.
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_loadu_si128, _mm_set_epi8, _mm_set_epi32,
        _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32,
    };

    use super::{Blocks, LANES, States};

    /// The round constants of SHA-256 (FIPS 180-4, 4.2.2).
    const ROUND_CONSTANTS: [u32; 64] = [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ];

    /// # Safety
    /// The processor must have the SHA instructions and SSE4.1.
    #[target_feature(enable = "sha,sse4.1")]
    pub(super) unsafe fn compress(states: &mut States, blocks: &Blocks) {
        // SAFETY: the caller guarantees the instructions, and every load lies within its array.
        unsafe {
            // Loops, not closures: closures would be compiled without the instructions.
            let swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
            let mut before = [[_mm_setzero_si128(); 2]; LANES];
            let mut schedule = [[_mm_setzero_si128(); 4]; LANES];
            for lane in 0..LANES {
                let [a, b, c, d, e, f, g, h] = states[lane];
                before[lane] = [vector([f, e, b, a]), vector([h, g, d, c])];
                for part in 0..4 {
                    let bytes = blocks[lane].as_ptr().add(16 * part).cast();
                    schedule[lane][part] = _mm_shuffle_epi8(_mm_loadu_si128(bytes), swap);
                }
            }
            let mut state = before;
            for quarter in 0..4 {
                for now in 0..4 {
                    let constants = _mm_loadu_si128(ROUND_CONSTANTS[16 * quarter + 4 * now..][..4].as_ptr().cast());
                    for lane in 0..LANES {
                        let words = &mut schedule[lane];
                        if quarter > 0 {
                            let (last, second, third) =
                                (words[(now + 3) % 4], words[(now + 2) % 4], words[(now + 1) % 4]);
                            let sum = _mm_add_epi32(
                                _mm_sha256msg1_epu32(words[now], third),
                                _mm_alignr_epi8(last, second, 4),
                            );
                            words[now] = _mm_sha256msg2_epu32(sum, last);
                        }
                        let input = _mm_add_epi32(words[now], constants);
                        let [abef, cdgh] = &mut state[lane];
                        *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, input);
                        *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(input, 0x0e));
                    }
                }
            }
            for (lane, out) in states.iter_mut().enumerate() {
                let [f, e, b, a] = words(_mm_add_epi32(state[lane][0], before[lane][0]));
                let [h, g, d, c] = words(_mm_add_epi32(state[lane][1], before[lane][1]));
                *out = [a, b, c, d, e, f, g, h];
            }
        }
    }

    /// # Safety
    /// The processor must have SSE4.1.
    #[target_feature(enable = "sse4.1")]
    unsafe fn vector(words: [u32; 4]) -> __m128i {
        // SAFETY: touches no memory; the caller has SSE4.1.
        unsafe { _mm_set_epi32(words[3] as i32, words[2] as i32, words[1] as i32, words[0] as i32) }
    }

    /// # Safety
    /// The processor must have SSE4.1.
    #[target_feature(enable = "sse4.1")]
    unsafe fn words(vector: __m128i) -> [u32; 4] {
        // SAFETY: touches no memory; the caller has SSE4.1.
        unsafe {
            [
                _mm_extract_epi32::<0>(vector) as u32,
                _mm_extract_epi32::<1>(vector) as u32,
                _mm_extract_epi32::<2>(vector) as u32,
                _mm_extract_epi32::<3>(vector) as u32,
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keno1::sha256;

    #[test]
    fn rows_of_every_width_and_number_are_hashed_as_if_alone() {
        let bytes: Vec<u8> = (0..2_000_u32).map(|at| ((at * at) >> 3) as u8).collect();
        for width in 1..200 {
            for count in 0..10 {
                let mut hashes = Vec::new();
                hash_rows(7, &bytes[..width * count], width, |hash| hashes.push(hash));
                let alone: Vec<Hash> = bytes[..width * count].chunks(width).map(|row| sha256(&[&[7], row])).collect();
                assert_eq!(hashes, alone, "{count} of {width}");
            }
        }
    }

    #[test]
    fn every_lane_is_compressed_as_if_alone() {
        let mut states: States = [INITIAL; LANES];
        let mut alone = states;
        for round in 0..50_u32 {
            let blocks: Blocks = std::array::from_fn(|lane| {
                std::array::from_fn(|at| (states[lane][at % 8].rotate_left(at as u32) ^ round ^ lane as u32) as u8)
            });
            compress(&mut states, &blocks);
            for (state, block) in alone.iter_mut().zip(&blocks) {
                compress256(state, std::slice::from_ref(block));
            }
            assert_eq!(states, alone);
        }
    }
}
