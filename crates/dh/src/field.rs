//! Arithmetic modulo the Mersenne prime p = 2^107 - 1, in time that depends on no operand.
//!
//! Because 2^107 = 1 (mod p), a number is reduced by adding its bits above the 107th to those below. Elements are
//! kept *loosely* reduced, below 2^107 + 2^5, so that one such fold after each product is enough; [`canonical`]
//! does the last step.

/// Width of the prime.
const BITS: u32 = 107;
/// The prime, which is also the mask of the low 107 bits.
pub(crate) const P: u128 = (1 << BITS) - 1;
/// The generator that nova uses.
const G: u128 = 5;

/// Exponents are read in digits of four bits, which fit a table of sixteen powers.
const DIGIT_BITS: u32 = 4;
const DIGITS: usize = BITS.div_ceil(DIGIT_BITS) as usize;
const POWERS: usize = 1 << DIGIT_BITS;

/// `GENERATOR_POWERS[i][d]` is g^(d * 16^i): a power of g costs one product a digit, and no squaring.
static GENERATOR_POWERS: [[u128; POWERS]; DIGITS] = generator_powers();

const fn generator_powers() -> [[u128; POWERS]; DIGITS] {
    let mut table = [[1; POWERS]; DIGITS];
    let mut base = G;
    let mut i = 0;
    while i < DIGITS {
        table[i] = powers(base);
        base = multiply(table[i][POWERS - 1], base);
        i += 1;
    }
    table
}

const fn powers(base: u128) -> [u128; POWERS] {
    let mut table = [1; POWERS];
    table[1] = base;
    let mut i = 2;
    while i < POWERS {
        // Even powers by squaring: half as deep a chain, so the processor overlaps the products.
        table[i] = if i % 2 == 0 {
            square(table[i / 2])
        } else {
            multiply(table[i - 1], base)
        };
        i += 1;
    }
    table
}

/// g to the power of `exponent`, which is below 2^107.
pub(crate) fn generator_power(exponent: u128) -> u128 {
    // Two chains of products that do not wait for one another.
    let mut even = select(&GENERATOR_POWERS[0], digit(exponent, 0));
    let mut odd = select(&GENERATOR_POWERS[1], digit(exponent, 1));
    let mut i = 2;
    while i + 1 < DIGITS {
        even = multiply(even, select(&GENERATOR_POWERS[i], digit(exponent, i)));
        odd = multiply(
            odd,
            select(&GENERATOR_POWERS[i + 1], digit(exponent, i + 1)),
        );
        i += 2;
    }
    if i < DIGITS {
        even = multiply(even, select(&GENERATOR_POWERS[i], digit(exponent, i)));
    }
    canonical(multiply(even, odd))
}

/// `base` to the power of `exponent`, which is below 2^107.
pub(crate) fn power(base: u128, exponent: u128) -> u128 {
    let table = powers(base);
    let mut result = select(&table, digit(exponent, DIGITS - 1));
    for i in (0..DIGITS - 1).rev() {
        for _ in 0..DIGIT_BITS {
            result = square(result);
        }
        result = multiply(result, select(&table, digit(exponent, i)));
    }
    canonical(result)
}

/// Brings an exponent below 2^107 without changing any power: exponents count modulo p - 1, and 2^107 = 2 there.
pub(crate) const fn reduce_exponent(exponent: u128) -> u128 {
    let once = (exponent & P) + 2 * (exponent >> BITS);
    (once & P) + 2 * (once >> BITS)
}

const fn digit(exponent: u128, index: usize) -> u64 {
    (exponent >> (DIGIT_BITS * index as u32)) as u64 & (POWERS as u64 - 1)
}

/// `table[index]`, having read every entry: which lines of the cache are touched tells nothing about `index`.
#[inline(always)]
fn select(table: &[u128; POWERS], index: u64) -> u128 {
    let mut low = 0;
    let mut high = 0;
    for (i, &entry) in table.iter().enumerate() {
        // All ones when the two are equal, else zero: only 0 - 1 has its top bit set, as both are small.
        let equal = ((i as u64 ^ index).wrapping_sub(1) >> 63).wrapping_neg();
        low |= entry as u64 & equal;
        high |= (entry >> 64) as u64 & equal;
    }
    u128::from(high) << 64 | u128::from(low)
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
