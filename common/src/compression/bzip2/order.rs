//! The bytes of a block in their order. Each is found where the one before it says, and nearly every one of these
//! steps misses the cache; so the way is walked from many places at the same time, and its stretches are put together
//! in the end.

/// Stretches that are walked at the same time. More hide more of each miss until the processor can wait for no more of
/// them; each needs a place to write to.
const LANES: usize = 12;

/// Bytes of a block for each stretch: enough of them that no lane is idle for long before the others end, and so few
/// that beginning one costs nothing.
const STRETCH_BYTES: usize = 4 << 10;

/// Marks the entry at which a stretch begins: one bit of those that places of at most 20 bits leave.
const BEGINS: u32 = 1 << 31;

/// Places of a block's entries that are larger than the 8 bits of their byte and smaller than the mark.
const PLACE_BITS: u32 = 23;

/// Walks blocks, one at a time, in the same memory.
#[derive(Debug, Default)]
pub(super) struct Order {
    lanes: [Lane; LANES],
    stretches: Vec<Stretch>,
    bytes: Vec<u8>,
}

/// One of the walks.
#[derive(Debug, Default)]
struct Lane {
    /// The entry that comes next.
    at: u32,
    /// The stretch that is walked.
    stretch: usize,
    /// What was found, of one stretch behind the other, and room for more.
    found: Vec<u8>,
    count: usize,
}

/// Entries that follow each other.
#[derive(Debug, Clone, Copy, Default)]
struct Stretch {
    lane: usize,
    /// Where its bytes lie among those that the lane found.
    begin: usize,
    end: usize,
    /// The entry behind it, which begins another one.
    next: u32,
}

/// The place that an entry tells.
fn place(entry: u32) -> u32 {
    entry >> 8 & ((1 << PLACE_BITS) - 1)
}

impl Order {
    /// Bytes of memory taken.
    pub(super) fn memory(&self) -> usize {
        let found: usize = self.lanes.iter().map(|lane| lane.found.capacity()).sum();
        found + self.bytes.capacity() + self.stretches.capacity() * size_of::<Stretch>()
    }

    /// The bytes found last.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Finds as many bytes as there are entries, beginning with the entry at `first`. An entry is a byte and, above
    /// it, the place of the entry behind it; no two have the same one behind them. Marks some entries.
    pub(super) fn find(&mut self, entries: &mut [u32], first: u32) {
        let apart = (entries.len() / STRETCH_BYTES).max(1);
        let apart = entries.len().div_ceil(apart).max(1);
        let begin_of = |stretch: usize| if stretch == 0 { first } else { (stretch * apart) as u32 };
        let count = entries.len().div_ceil(apart);
        for stretch in 0..count {
            entries[begin_of(stretch) as usize] |= BEGINS;
        }
        self.stretches.clear();
        self.stretches.resize(count, Stretch::default());
        self.walk(entries, begin_of);
        self.put_together(entries.len(), |place| if place == first { 0 } else { place as usize / apart });
    }

    /// Walks all stretches.
    fn walk(&mut self, entries: &[u32], begin_of: impl Fn(usize) -> u32) {
        let Self { lanes, stretches, .. } = self;
        let mut begun = lanes.len().min(stretches.len());
        let mut active = begun;
        for (number, lane) in lanes.iter_mut().enumerate() {
            (lane.count, lane.stretch) = (0, number);
            if number < begun {
                stretches[number] = Stretch { lane: number, ..Stretch::default() };
                lane.take(entries[begin_of(number) as usize]);
            }
        }
        // Lanes without anything to do lie behind the active ones.
        let mut order: [usize; LANES] = std::array::from_fn(|number| number);
        while active > 0 {
            let mut turn = 0;
            while turn < active {
                let number = order[turn];
                let lane = &mut lanes[number];
                let entry = entries[lane.at as usize];
                if entry & BEGINS == 0 {
                    lane.take(entry);
                    turn += 1;
                    continue;
                }
                let stretch = &mut stretches[lane.stretch];
                (stretch.end, stretch.next) = (lane.count, lane.at);
                if begun < stretches.len() {
                    stretches[begun] = Stretch { lane: number, begin: lane.count, ..Stretch::default() };
                    lane.stretch = begun;
                    lane.take(entries[begin_of(begun) as usize]);
                    begun += 1;
                    turn += 1;
                } else {
                    active -= 1;
                    order.swap(turn, active);
                }
            }
        }
    }

    /// Copies the stretches in their order. Where the entries make several circles, the first one's come again.
    fn put_together(&mut self, length: usize, stretch_at: impl Fn(u32) -> usize) {
        self.bytes.clear();
        self.bytes.reserve_exact(length);
        let mut next = 0;
        while self.bytes.len() < length {
            let Stretch { lane, begin, end, next: place } = self.stretches[next];
            let found = &self.lanes[lane].found[begin..end];
            self.bytes.extend_from_slice(&found[..found.len().min(length - self.bytes.len())]);
            next = stretch_at(place);
        }
    }
}

impl Lane {
    /// Takes the byte of an entry, and goes on behind it.
    #[inline]
    fn take(&mut self, entry: u32) {
        if self.count == self.found.len() {
            self.make_room();
        }
        self.found[self.count] = entry as u8;
        self.count += 1;
        self.at = place(entry);
    }

    #[cold]
    fn make_room(&mut self) {
        self.found.resize(self.found.len() + (16 << 10), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes as one walk finds them.
    fn expect(entries: &[u32], first: u32) -> Vec<u8> {
        let mut at = first;
        let step = |_| {
            let entry = entries[at as usize];
            at = place(entry);
            entry as u8
        };
        (0..entries.len()).map(step).collect()
    }

    /// Entries whose places are shuffled by a generator of numbers.
    fn shuffled(count: u32) -> Vec<u32> {
        let mut places: Vec<u32> = (0..count).collect();
        let mut state = 0x9e37_79b9_u32;
        for index in (1..places.len()).rev() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            places.swap(index, ((u64::from(state) * (index as u64 + 1)) >> 32) as usize);
        }
        places
            .iter()
            .enumerate()
            .map(|(index, place)| (place << 8) | ((index as u32).wrapping_mul(31) & 0xff))
            .collect()
    }

    #[test]
    fn many_walks_find_what_one_does() {
        let mut order = Order::default();
        for count in [1, 2, 3, 100, 4096, 4097, 50_000, 900_000, 8192, 5] {
            let entries = shuffled(count);
            for first in [0, count / 2, count - 1, 4096 % count] {
                order.find(&mut entries.clone(), first);
                assert!(order.bytes() == expect(&entries, first), "{count} from {first}");
            }
        }
    }

    #[test]
    fn circles_come_again_until_there_are_enough_bytes() {
        let mut order = Order::default();
        for circle in [1_u32, 2, 3000, 5000] {
            let count = circle * 20;
            let next = |at: u32| at / circle * circle + (at % circle + 1) % circle;
            let entries: Vec<u32> = (0..count).map(|at| (next(at) << 8) | (at % 251)).collect();
            for first in [0, count - 1, count / 2 + 1] {
                order.find(&mut entries.clone(), first % count);
                assert!(order.bytes() == expect(&entries, first % count), "{circle} from {first}");
            }
        }
    }
}
