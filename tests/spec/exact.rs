//! The exact sum of any number of f32 values, rounded once to the nearest f64.
//!
//! Every finite f32 is an integer times 2^-149. The integers are added in eight buckets of 32 binary
//! places each, which is nothing but a sum written in base 2^32 without carrying; 2^70 values fit. The
//! total is rounded by printing it as an exact decimal and letting the standard library parse that.

const BUCKETS: usize = 8;

/// `Σ buckets[b] · 2^(32·b) · 2^-149`.
#[derive(Debug, Clone, Default)]
pub struct ExactSum {
    buckets: [i128; BUCKETS],
}

impl ExactSum {
    /// Adds a finite value.
    pub fn add(&mut self, value: f32) {
        assert!(value.is_finite(), "only finite values have a sum");
        let bits = value.to_bits();
        let exponent = bits >> 23 & 0xFF;
        let fraction = i128::from(bits & 0x7F_FFFF);
        let (significand, shift) =
            if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 23, exponent - 1) };
        let part = significand << (shift % 32);
        let bucket = &mut self.buckets[shift as usize / 32];
        *bucket += if value.is_sign_negative() { -part } else { part };
    }

    /// The nearest f64, ties to even; a sum of zero is +0.
    pub fn round(&self) -> f64 {
        self.short().unwrap_or_else(|| self.round_decimal())
    }

    /// N·2^-149 = N·5^149·10^-149, and parsing a decimal rounds it to nearest even.
    pub fn round_decimal(&self) -> f64 {
        let mut buckets = carried(self.buckets);
        let negative = buckets[BUCKETS - 1] < 0;
        if negative {
            buckets = carried(self.buckets.map(|bucket| -bucket));
        }
        let mut digits = Vec::new();
        for bucket in buckets.iter().rev() {
            times_plus(&mut digits, 1 << 32, bucket.unsigned_abs());
        }
        for _ in 0..149 {
            times_plus(&mut digits, 5, 0);
        }
        let sign = if negative { "-" } else { "" };
        let decimal: String = digits.iter().rev().map(|digit| format!("{digit:09}")).collect();
        format!("{sign}0{decimal}e-149").parse().expect("a decimal number")
    }

    /// The sum when it needs no rounding because its significant bits fit an f64: only to save time.
    fn short(&self) -> Option<f64> {
        let Some(lowest) = self.buckets.iter().position(|bucket| *bucket != 0) else {
            return Some(0.0);
        };
        let units = self.buckets[lowest..]
            .iter()
            .rev()
            .try_fold(0i128, |sum, bucket| sum.checked_mul(1 << 32)?.checked_add(*bucket))?;
        if units == 0 {
            return Some(0.0);
        }
        let zeros = units.trailing_zeros();
        let odd = i64::try_from(units >> zeros).ok().filter(|odd| odd.abs() < 1 << 53)?;
        let power = i32::try_from(lowest * 32).ok()? + i32::try_from(zeros).ok()? - 149;
        #[allow(clippy::cast_precision_loss, reason = "below 2^53")]
        Some(odd as f64 * 2f64.powi(power))
    }
}

/// The same sum with every bucket but the highest from 0 to 2^32 - 1.
fn carried(mut buckets: [i128; BUCKETS]) -> [i128; BUCKETS] {
    for i in 1..BUCKETS {
        buckets[i] += buckets[i - 1] >> 32;
        buckets[i - 1] &= 0xFFFF_FFFF;
    }
    buckets
}

/// A number in base 10^9, the lowest digit first, times `factor`, plus `more`.
fn times_plus(digits: &mut Vec<u128>, factor: u128, more: u128) {
    let mut carry = more;
    for digit in digits.iter_mut() {
        carry += *digit * factor;
        (*digit, carry) = (carry % 1_000_000_000, carry / 1_000_000_000);
    }
    while carry > 0 {
        digits.push(carry % 1_000_000_000);
        carry /= 1_000_000_000;
    }
}
