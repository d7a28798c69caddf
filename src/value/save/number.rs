//! Numbers as text, where a format for people has none: JSON has neither infinities nor NaN.

use std::num::{ParseFloatError, ParseIntError};

/// A number of any kind, to and from text without loss.
pub(super) trait Exact: Copy + Sized {
    fn to_text(self) -> String;
    fn from_text(text: &str) -> Result<Self, String>;
}

macro_rules! exact {
    ($float:ty, $bits:ty) => {
        impl Exact for $float {
            /// NaNs differ in their bits; all others are told by their decimal digits.
            fn to_text(self) -> String {
                if self.is_nan() { format!("NaN({:#x})", self.to_bits()) } else { self.to_string() }
            }

            fn from_text(text: &str) -> Result<Self, String> {
                let bits = text.strip_prefix("NaN(0x").and_then(|rest| rest.strip_suffix(')'));
                let wrong = || format!("`{text}` is no number");
                let Some(bits) = bits else {
                    return text.parse().map_err(|_: ParseFloatError| wrong());
                };
                // One that is no NaN would have two forms.
                let bits = <$bits>::from_str_radix(bits, 16).map_err(|_: ParseIntError| wrong())?;
                Some(<$float>::from_bits(bits)).filter(|number| number.is_nan()).ok_or_else(wrong)
            }
        }
    };
}

exact!(f32, u32);
exact!(f64, u64);

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
