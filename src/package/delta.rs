//! Bytes in terms of other bytes: what is copied of them, and what is new. Pure, and bounded on both sides.
//!
//! A delta is a number of steps and then, one after the other, the new bytes. A step is three numbers: how many new bytes
//! come first, how many are copied then, and how far from the end of the copy before they begin. Numbers are LEB128, those
//! that may be negative with the sign in the lowest bit.

/// Copies are found by so many bytes of the base, at multiples of as many: a shorter copy saves little beside its step.
const SEED: usize = 16;
/// 0 means nothing in the table of seeds.
type Place = u32;

/// `new` in terms of `base`.
pub(super) fn encode(base: &[u8], new: &[u8]) -> Vec<u8> {
    let seeds = Seeds::of(base);
    let (mut steps, mut fresh) = (Steps::default(), Vec::new());
    let (mut at, mut done) = (0, 0);
    while let Some(seed) = new.get(at..).and_then(|rest| rest.first_chunk::<SEED>()) {
        let found = [steps.expected(at - done), seeds.find(seed)]
            .into_iter()
            .flatten()
            .find(|&from| base.get(from..).is_some_and(|base| base.starts_with(seed)));
        let Some(from) = found else {
            at += 1;
            continue;
        };
        let back = alike(new[done..at].iter().rev(), base[..from].iter().rev());
        let length = back + alike(new[at..].iter(), base[from..].iter());
        let (start, from) = (at - back, from - back);
        fresh.extend_from_slice(&new[done..start]);
        steps.push(start - done, length, from);
        done = start + length;
        at = done;
    }
    fresh.extend_from_slice(&new[done..]);
    let mut delta = Vec::new();
    put(&mut delta, steps.count);
    delta.append(&mut steps.bytes);
    delta.append(&mut fresh);
    delta
}

/// What was encoded, of at most `limit` bytes; `None` where the delta makes no sense with this base.
pub(super) fn decode(base: &[u8], mut delta: &[u8], limit: usize) -> Option<Vec<u8>> {
    let count = take(&mut delta)?;
    let mut steps = delta;
    for _ in 0..count.checked_mul(3)? {
        take(&mut delta)?;
    }
    let (mut made, mut end) = (Vec::new(), 0_usize);
    for _ in 0..count {
        made.extend_from_slice(delta.split_off(..take_size(&mut steps)?)?);
        let copied = take_size(&mut steps)?;
        let from = end.checked_add_signed(isize::try_from(unfold(take(&mut steps)?)).ok()?)?;
        end = from.checked_add(copied)?;
        if made.len().checked_add(copied)? > limit {
            return None;
        }
        made.extend_from_slice(base.get(from..end)?);
    }
    made.extend_from_slice(delta);
    (made.len() <= limit).then_some(made)
}

/// How many bytes are the same from the beginning of both on.
fn alike<'a>(one: impl Iterator<Item = &'a u8>, other: impl Iterator<Item = &'a u8>) -> usize {
    one.zip(other).take_while(|(one, other)| one == other).count()
}

/// The steps so far.
#[derive(Default)]
struct Steps {
    bytes: Vec<u8>,
    count: u64,
    /// Where in the base the last copy ended.
    end: usize,
}

impl Steps {
    /// Where a copy begins if the new bytes before it replaced as many old ones.
    fn expected(&self, new: usize) -> Option<usize> {
        self.end.checked_add(new)
    }
    fn push(&mut self, new: usize, copied: usize, from: usize) {
        put(&mut self.bytes, new as u64);
        put(&mut self.bytes, copied as u64);
        put(&mut self.bytes, fold(from as i64 - self.end as i64));
        (self.end, self.count) = (from + copied, self.count + 1);
    }
}

/// Where in the base each seed is; of equal and of colliding ones the first.
struct Seeds {
    places: Vec<Place>,
    bits: u32,
}

impl Seeds {
    fn of(base: &[u8]) -> Self {
        // Twice as many places as seeds.
        let bits = (2 * base.len() / SEED).next_power_of_two().trailing_zeros().max(1);
        let mut seeds = Self { places: vec![0; 1 << bits], bits };
        for (number, seed) in base.as_chunks::<SEED>().0.iter().enumerate() {
            let slot = seeds.slot(seed);
            if let (place @ 0, Ok(number)) = (&mut seeds.places[slot], Place::try_from(number + 1)) {
                *place = number;
            }
        }
        seeds
    }
    /// Where the same bytes may be.
    fn find(&self, seed: &[u8; SEED]) -> Option<usize> {
        let place = self.places[self.slot(seed)];
        place.checked_sub(1).map(|number| number as usize * SEED)
    }
    fn slot(&self, seed: &[u8; SEED]) -> usize {
        let seed = u128::from_le_bytes(*seed);
        // Fibonacci hashing over both halves.
        let mixed = (seed as u64 ^ ((seed >> 64) as u64).rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from(mixed >> (64 - self.bits)).unwrap_or(0)
    }
}

fn fold(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}
fn unfold(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

pub(super) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The number at the beginning, which is taken away; `None` where there is none of at most 63 bits.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

pub(super) fn take_size(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(take(bytes)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(length: usize, seed: u8) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn a_small_change_of_many_bytes_makes_a_delta_of_about_its_size() {
        let base = noise(300_000, 1);
        let edits: [(&str, std::ops::Range<usize>, Vec<u8>); 4] = [
            ("inserted", 1000..1000, b"a line that was not there".to_vec()),
            ("removed", 200_000..220_000, Vec::new()),
            ("replaced", 150_001..150_030, noise(29, 2)),
            ("moved", 300_000..300_000, base[..5000].to_vec()),
        ];
        for (what, range, with) in edits {
            let mut new = base.clone();
            new.splice(range, with);
            let delta = encode(&base, &new);
            assert!(delta.len() < 100, "{what}: {}", delta.len());
            assert_eq!(decode(&base, &delta, new.len()), Some(new), "{what}");
        }
        let (fresh, delta) = (noise(50_000, 3), encode(&base, &noise(50_000, 3)));
        assert!(delta.len() <= fresh.len() + 10);
        assert_eq!(decode(&base, &delta, fresh.len()), Some(fresh));
    }

    #[test]
    fn a_delta_that_makes_too_much_or_reaches_out_of_its_base_makes_nothing() {
        let base = noise(1000, 1);
        let delta = encode(&base, &base);
        assert_eq!(decode(&base, &delta, 999), None);
        assert_eq!(decode(&base[..999], &delta, 1000), None);
        let mut bomb = Vec::new();
        put(&mut bomb, 1 << 40);
        (0..3 << 16).for_each(|_| bomb.push(1));
        assert_eq!(decode(&base, &bomb, usize::MAX), None);
        assert_eq!(decode(&base, &[1, 0, 1, 1], 10), None, "before the base");
        assert_eq!(decode(&base, &[0xff; 9], 10), None);
        assert_eq!(decode(&base, &[], 10), None);
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_comes_back(
            base in proptest::collection::vec(0_u8..3, 0..400),
            new in proptest::collection::vec(0_u8..3, 0..400),
        ) {
            let delta = encode(&base, &new);
            prop_assert_eq!(decode(&base, &delta, new.len()), Some(new));
        }

        #[test]
        fn whatever_comes_makes_no_more_than_allowed(delta in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(made) = decode(&[7; 64], &delta, 1000) {
                prop_assert!(made.len() <= 1000);
            }
        }
    }
}
