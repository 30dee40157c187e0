//! Sets of keno numbers as 80-bit masks: bit n-1 stands for number n.
//!
//! A set says nothing about order; the order of a draw lives in its 20 number bytes.

use crate::error::CoreError;

/// The numbers are 1..=80.
pub const NUMBERS: u8 = 80;
/// Bytes of a mask as it stands in bet leaves: an 80-bit big-endian integer.
pub const MASK_BYTES: usize = 10;

/// A set of distinct numbers from 1 to 80.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NumberSet(u128);

impl NumberSet {
    /// Collects distinct numbers; refuses one outside of 1..=80 and one that occurs twice.
    pub fn from_numbers(numbers: impl IntoIterator<Item = u8>) -> Result<Self, CoreError> {
        let mut set = 0_u128;
        for number in numbers {
            if !(1..=NUMBERS).contains(&number) {
                return Err(CoreError::Range { what: "a number", min: 1, max: NUMBERS.into() });
            }
            let bit = 1_u128 << (number - 1);
            if set & bit != 0 {
                return Err(CoreError::Repeated { number });
            }
            set |= bit;
        }
        Ok(Self(set))
    }

    /// The set whose big-endian mask is `mask`. Every mask of ten bytes is a set.
    pub fn from_mask(mask: &[u8; MASK_BYTES]) -> Self {
        let mut wide = [0_u8; 16];
        wide[16 - MASK_BYTES..].copy_from_slice(mask);
        Self(u128::from_be_bytes(wide))
    }

    /// The mask as ten big-endian bytes.
    pub fn to_mask(self) -> [u8; MASK_BYTES] {
        let mut mask = [0_u8; MASK_BYTES];
        mask.copy_from_slice(&self.0.to_be_bytes()[16 - MASK_BYTES..]);
        mask
    }

    /// How many numbers the set has.
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// How many numbers both sets have: the hits of picks in a draw.
    pub fn hits(self, other: Self) -> u32 {
        (self.0 & other.0).count_ones()
    }

    /// The numbers in ascending order.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (1..=NUMBERS).filter(move |number| self.0 >> (number - 1) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_one_is_the_last_bit_and_eighty_the_first() {
        let set = NumberSet::from_numbers([1, 80]).unwrap();
        assert_eq!(set.to_mask(), [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(set.numbers().collect::<Vec<_>>(), [1, 80]);
    }

    #[test]
    fn numbers_outside_of_the_field_and_repeats_are_refused() {
        for wrong in [0, 81, 255] {
            assert!(matches!(NumberSet::from_numbers([7, wrong]), Err(CoreError::Range { .. })));
        }
        assert_eq!(NumberSet::from_numbers([7, 3, 7]), Err(CoreError::Repeated { number: 7 }));
    }

    #[test]
    fn every_mask_survives_a_round_trip() {
        for mask in [[0; 10], [0xff; 10], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] {
            let set = NumberSet::from_mask(&mask);
            assert_eq!(set.to_mask(), mask);
            assert_eq!(NumberSet::from_numbers(set.numbers()).unwrap(), set);
        }
    }
}
