//! Arithmetic modulo the Mersenne prime p = 2^107 - 1, in time that depends on no operand.
//!
//! Because 2^107 = 1 (mod p), a number is reduced by adding its bits above the 107th to those below. Elements are
//! kept *loosely* reduced, below 2^107 + 2^5, so that one such fold after each product is enough; [`canonical`]
//! does the last step.

use std::hint::black_box;

/// Width of the prime.
const BITS: u32 = 107;
/// The prime, which is also the mask of the low 107 bits.
pub(crate) const P: u128 = (1 << BITS) - 1;
/// The generator that nova uses.
const G: u128 = 5;

/// An exponent is read in digits of four bits for any base, where a digit costs one product beside four squarings
/// and a table of powers is made for each base.
const DIGIT_BITS: u32 = 4;
const DIGITS: usize = BITS.div_ceil(DIGIT_BITS) as usize;
/// For the generator there are no squarings and the tables are made at compile time: reading them is what costs, and
/// smaller ones are read faster.
const GENERATOR_DIGIT_BITS: u32 = 3;
const GENERATOR_DIGITS: usize = BITS.div_ceil(GENERATOR_DIGIT_BITS) as usize;
/// Two chains of products take turns at the digits.
const _: () = assert!(GENERATOR_DIGITS.is_multiple_of(2));

/// `GENERATOR_POWERS[i]` selects g^(d * 8^i) for a digit d: a power of g is one product a digit.
static GENERATOR_POWERS: [Table<8>; GENERATOR_DIGITS] = generator_powers();

const fn generator_powers() -> [Table<8>; GENERATOR_DIGITS] {
    let mut tables = [Table([0; 8]); GENERATOR_DIGITS];
    let mut base = G;
    let mut i = 0;
    while i < GENERATOR_DIGITS {
        let powers: [u128; 8] = powers(base);
        tables[i] = Table::new(powers);
        base = multiply(powers[7], base);
        i += 1;
    }
    tables
}

const fn powers<const N: usize>(base: u128) -> [u128; N] {
    let mut powers = [1; N];
    powers[1] = base;
    let mut i = 2;
    while i < N {
        // Even powers by squaring: half as deep a chain, so the processor overlaps the products.
        powers[i] = if i % 2 == 0 {
            square(powers[i / 2])
        } else {
            multiply(powers[i - 1], base)
        };
        i += 1;
    }
    powers
}

/// g to the power of `exponent`, which is below 2^107.
pub(crate) fn generator_power(exponent: u128) -> u128 {
    // Two chains of products that do not wait for one another.
    let mut results = [1; 2];
    let digits = Digits::new(exponent, GENERATOR_DIGIT_BITS);
    for (i, pair) in GENERATOR_POWERS.chunks_exact(2).enumerate() {
        results[0] = multiply(results[0], digits.select(&pair[0], 2 * i));
        results[1] = multiply(results[1], digits.select(&pair[1], 2 * i + 1));
    }
    canonical(multiply(results[0], results[1]))
}

/// `base` to the power of `exponent`, which is below 2^107.
pub(crate) fn power(base: u128, exponent: u128) -> u128 {
    let table: Table<16> = Table::new(powers(base));
    let digits = Digits::new(exponent, DIGIT_BITS);
    let mut result = digits.select(&table, DIGITS - 1);
    for i in (0..DIGITS - 1).rev() {
        for _ in 0..DIGIT_BITS {
            result = square(result);
        }
        result = multiply(result, digits.select(&table, i));
    }
    canonical(result)
}

/// Elements that are selected by a secret index without a branch or an address that depends on it.
///
/// Each bit of an entry is a function of the bits of its index. What is kept is that function's algebraic normal
/// form: the entry is the exclusive or of `form[s]` over all s whose bits are all set in the index. Evaluated like
/// Horner's rule, that takes one AND and one XOR a coefficient, less than comparing every index.
#[derive(Clone, Copy)]
struct Table<const N: usize>([u128; N]);

impl<const N: usize> Table<N> {
    const fn new(entries: [u128; N]) -> Self {
        let mut form = entries;
        let mut bit = 1;
        while bit < N {
            let mut i = 0;
            while i < N {
                if i & bit != 0 {
                    form[i] ^= form[i ^ bit];
                }
                i += 1;
            }
            bit *= 2;
        }
        Self(form)
    }
}

/// A secret exponent, to be read in digits.
struct Digits {
    exponent: u128,
    bits: u32,
    /// Zero, but the compiler does not know it. A compiler that sees that a mask is all zeros or all ones makes a
    /// branch of it.
    zero: u64,
}

impl Digits {
    fn new(exponent: u128, bits: u32) -> Self {
        Self {
            exponent,
            bits,
            zero: black_box(0),
        }
    }

    /// The entry of `table` that the digit at `position`, from the lowest, selects.
    #[inline(always)]
    fn select<const N: usize>(&self, table: &Table<N>, position: usize) -> u128 {
        let mut digit = (self.exponent >> (self.bits * position as u32)) as u64;
        let mut form = table.0;
        let mut count = N;
        while count > 1 {
            let mask = self.zero.wrapping_sub(digit & 1);
            let mask = u128::from(mask) << 64 | u128::from(mask);
            count /= 2;
            for i in 0..count {
                form[i] = form[2 * i] ^ (form[2 * i + 1] & mask);
            }
            digit >>= 1;
        }
        form[0]
    }
}

/// Brings an exponent below 2^107 without changing any power: exponents count modulo p - 1, and 2^107 = 2 there.
pub(crate) const fn reduce_exponent(exponent: u128) -> u128 {
    let once = (exponent & P) + 2 * (exponent >> BITS);
    (once & P) + 2 * (once >> BITS)
}

#[inline(always)]
const fn multiply(a: u128, b: u128) -> u128 {
    let (a0, a1) = limbs(a);
    let (b0, b1) = limbs(b);
    fold(a0 * b0, a0 * b1 + a1 * b0, a1 * b1)
}

#[inline(always)]
const fn square(a: u128) -> u128 {
    let (a0, a1) = limbs(a);
    fold(a0 * a0, a0 * (2 * a1), a1 * a1)
}

#[inline(always)]
const fn limbs(a: u128) -> (u128, u128) {
    (a as u64 as u128, (a >> 64) as u64 as u128)
}

/// `low + middle * 2^64 + high * 2^128`, loosely reduced. With loosely reduced factors `middle` is below 2^109 and
/// `high` at most 2^86, so the sum stays below 2^110.
#[inline(always)]
const fn fold(low: u128, middle: u128, high: u128) -> u128 {
    const MIDDLE_BITS: u32 = BITS - 64;
    let middle_low = middle & ((1 << MIDDLE_BITS) - 1);
    let sum = (low & P)
        + (low >> BITS)
        + (middle_low << 64)
        + (middle >> MIDDLE_BITS)
        + (high << (128 - BITS));
    (sum & P) + (sum >> BITS)
}

/// The one representative in 0..p of a loosely reduced element.
const fn canonical(a: u128) -> u128 {
    // a + 1 reaches bit 107 exactly when a >= p.
    (a + ((a + 1) >> BITS)) & P
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubling and adding, one bit at a time: shares nothing with the code above.
    fn naive_multiply(mut a: u128, mut b: u128) -> u128 {
        let mut result = 0;
        a %= P;
        while b > 0 {
            if b & 1 == 1 {
                result = (result + a) % P;
            }
            a = (a * 2) % P;
            b >>= 1;
        }
        result
    }

    fn naive_power(mut base: u128, mut exponent: u128) -> u128 {
        let mut result = 1;
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = naive_multiply(result, base);
            }
            base = naive_multiply(base, base);
            exponent >>= 1;
        }
        result
    }

    /// splitmix64: a seeded stream, so that a failure repeats.
    struct Numbers(u64);

    impl Numbers {
        fn next_u64(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        fn next(&mut self) -> u128 {
            u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
        }
    }

    const EDGES: [u128; 10] = [
        0,
        1,
        2,
        5,
        1 << 64,
        (1 << 64) - 1,
        (1 << 106) + 1,
        P - 2,
        P - 1,
        P,
    ];

    #[test]
    fn products_match_long_multiplication_at_the_edges_of_loose_reduction() {
        let loose = EDGES.iter().copied().chain(P + 1..P + 32);
        for a in loose.clone() {
            assert_eq!(canonical(a), a % P);
            assert_eq!(canonical(square(a)), naive_multiply(a, a), "{a} squared");
            assert!(square(a) < P + 32);
            for b in loose.clone() {
                assert_eq!(
                    canonical(multiply(a, b)),
                    naive_multiply(a, b),
                    "{a} times {b}"
                );
                assert!(multiply(a, b) < P + 32);
            }
        }
    }

    #[test]
    fn products_match_long_multiplication_for_random_numbers() {
        let mut numbers = Numbers(1);
        for _ in 0..20_000 {
            let (a, b) = (numbers.next() & P, numbers.next() & P);
            assert_eq!(
                canonical(multiply(a, b)),
                naive_multiply(a, b),
                "{a} times {b}"
            );
            assert_eq!(canonical(square(a)), naive_multiply(a, a), "{a} squared");
        }
    }

    #[test]
    fn powers_match_square_and_multiply_for_random_numbers() {
        let mut numbers = Numbers(2);
        for _ in 0..2_000 {
            let (base, exponent) = (numbers.next() & P, numbers.next() & P);
            assert_eq!(
                power(base, exponent),
                naive_power(base, exponent),
                "{base}^{exponent}"
            );
            assert_eq!(
                generator_power(exponent),
                naive_power(G, exponent),
                "g^{exponent}"
            );
        }
    }

    #[test]
    fn powers_match_square_and_multiply_for_edge_exponents() {
        for exponent in EDGES.into_iter().chain((0..107).map(|bit| 1 << bit)) {
            assert_eq!(
                generator_power(exponent),
                naive_power(G, exponent),
                "g^{exponent}"
            );
            for base in [2, 3, P - 2, P - 1] {
                assert_eq!(
                    power(base, exponent),
                    naive_power(base, exponent),
                    "{base}^{exponent}"
                );
            }
        }
    }

    #[test]
    fn wide_exponents_are_reduced_without_changing_the_power() {
        let mut numbers = Numbers(3);
        for exponent in [u128::MAX, 1 << 107, 1 << 127]
            .into_iter()
            .chain((0..500).map(|_| numbers.next()))
        {
            assert!(reduce_exponent(exponent) <= P);
            assert_eq!(
                generator_power(reduce_exponent(exponent)),
                naive_power(G, exponent),
                "g^{exponent}"
            );
        }
    }
}
