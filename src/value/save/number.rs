//! Floats as text, for those that a human-readable format can't express: JSON has neither infinities nor NaN.

use std::num::{ParseFloatError, ParseIntError};

use serde::de::Error;

/// A float that converts to and from text without loss.
pub(super) trait LosslessText: Copy + Sized {
    fn to_text(self) -> String;
    fn from_text(text: &str) -> Result<Self, String>;
}

/// Reads a number that was written as text.
pub(super) fn number_from_text<T: LosslessText, E: Error>(text: &str) -> Result<T, E> {
    T::from_text(text).map_err(E::custom)
}

macro_rules! lossless_text {
    ($float:ty, $bits:ty) => {
        impl LosslessText for $float {
            /// A NaN is written by its bits, which its decimal form loses.
            fn to_text(self) -> String {
                if self.is_nan() { format!("NaN({:#x})", self.to_bits()) } else { self.to_string() }
            }

            fn from_text(text: &str) -> Result<Self, String> {
                let bits = text.strip_prefix("NaN(0x").and_then(|rest| rest.strip_suffix(')'));
                let wrong = || format!("`{text}` is no number");
                let Some(bits) = bits else {
                    return text.parse().map_err(|_: ParseFloatError| wrong());
                };
                // Only a NaN: other numbers would have two forms.
                let bits = <$bits>::from_str_radix(bits, 16).map_err(|_: ParseIntError| wrong())?;
                Some(<$float>::from_bits(bits)).filter(|number| number.is_nan()).ok_or_else(wrong)
            }
        }
    };
}

lossless_text!(f32, u32);
lossless_text!(f64, u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_text_bit_for_bit() {
        for bits in
            [0, 1, 0x7ff0 << 48, 0xfff0 << 48, 0x7ff8 << 48, 0xfff8 << 48, u64::MAX, 1 << 63]
        {
            let number = f64::from_bits(bits);
            assert_eq!(f64::from_text(&number.to_text()).map(f64::to_bits), Ok(bits));
        }
        for bits in [0, 1, 0x7f80 << 16, 0xff80 << 16, 0x7fc0 << 16, u32::MAX, 0x7f80_0001, 1 << 31]
        {
            let number = f32::from_bits(bits);
            assert_eq!(f32::from_text(&number.to_text()).map(f32::to_bits), Ok(bits));
        }
        assert_eq!(f64::INFINITY.to_text(), "inf");
        assert!(f64::from_text("NaN").is_ok_and(f64::is_nan));
        for wrong in ["", "x", "NaN(0x0)", "NaN(0x7ff0000000000000)", "NaN(-1)", "NaN(0x"] {
            assert!(f64::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
