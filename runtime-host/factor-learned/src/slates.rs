//! Slates that the funnel made ahead of time, by user.
//!
//! The file: items, users, entries (u32 each); handles of items and of users, and when
//! each user's slate was made (u64); then offsets, ids and scores.

use funnelweb_core::handles::HandleMap;

use crate::{
    format::{Error, Reader, Writer},
    handles::Handles,
    store::Slate,
    table::Table,
};

const KIND: [u8; 4] = *b"FWsl";
const VERSION: u32 = 1;

/// What the job `precompute` makes. Ids are places in the handles: an item takes 8
/// bytes of a slate.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Slates {
    items: Handles,
    users: Handles,
    made_ms: Vec<u64>,
    slates: Table,
}

impl Slates {
    fn new(items: Handles, users: Handles, made_ms: Vec<u64>, slates: Table) -> Result<Self, Error> {
        slates.check(users.len(), items.len())?;
        if made_ms.len() == users.len() {
            Ok(Self { items, users, made_ms, slates })
        } else {
            Err(Error::Parts("its times"))
        }
    }

    /// The slate of a user; none of one who has none.
    #[must_use]
    pub fn slate(&self, user: u64) -> Option<Slate> {
        let user = self.users.id(user)?;
        let range = self.slates.range(user, usize::MAX);
        let ids = self.slates.ids.get(range.clone())?;
        Some(Slate {
            made_ms: self.made_ms.get(user as usize).copied()?,
            // Checked: every id is that of a handle.
            handles: ids.iter().filter_map(|id| self.items.all().get(*id as usize).copied()).collect(),
            scores: self.slates.scores.get(range)?.to_vec(),
        })
    }

    /// How many users have one.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// How many items stand in them, each once.
    #[must_use]
    pub fn items(&self) -> usize {
        self.items.len()
    }

    /// As a file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::new(KIND, VERSION, self.bytes());
        // None of them are more than a u32 counts.
        to.u32s(&[self.items.len() as u32, self.users.len() as u32, self.slates.ids.len() as u32]);
        to.u64s(self.items.all());
        to.u64s(self.users.all());
        to.u64s(&self.made_ms);
        self.slates.write(&mut to);
        to.finish()
    }

    /// From a file.
    ///
    /// # Errors
    /// When it is not what [`encode`](Self::encode) made.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut from = Reader::new(bytes, KIND, VERSION)?;
        let (items, users, entries) = (from.count()?, from.count()?, from.count()?);
        let item_handles = Handles::new(from.u64s(items)?)?;
        let user_handles = Handles::new(from.u64s(users)?)?;
        let made_ms = from.u64s(users)?;
        let slates = Table::read(&mut from, users, entries)?;
        from.end()?;
        Self::new(item_handles, user_handles, made_ms, slates)
    }

    /// Bytes in memory, and of the file about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.items.bytes() + self.users.bytes() + 8 * self.made_ms.len() + self.slates.bytes()
    }
}

/// Slates as they are made, user by user.
#[derive(Debug)]
pub struct Gathered {
    /// By handle, in the order in which they were met.
    items: HandleMap<u32>,
    users: Vec<u64>,
    made_ms: Vec<u64>,
    slates: Table,
}

impl Gathered {
    /// Room for so many slates of so many items, which is taken as it is filled.
    #[must_use]
    pub fn with_capacity(users: usize, items: usize) -> Self {
        let entries = users.saturating_mul(items);
        let mut offsets = Vec::with_capacity(users + 1);
        offsets.push(0);
        Self {
            items: HandleMap::default(),
            users: Vec::with_capacity(users),
            made_ms: Vec::with_capacity(users),
            slates: Table { offsets, ids: Vec::with_capacity(entries), scores: Vec::with_capacity(entries) },
        }
    }

    /// Adds the slate of a user, whose handle must be above that of the one before.
    pub fn push(&mut self, user: u64, slate: &Slate) {
        for (handle, score) in slate.handles.iter().zip(&slate.scores) {
            let next = self.items.len() as u32;
            self.slates.ids.push(*self.items.entry(*handle).or_insert(next));
            self.slates.scores.push(*score);
        }
        self.users.push(user);
        self.made_ms.push(slate.made_ms);
        self.slates.offsets.push(self.slates.ids.len() as u32);
    }

    /// All of them.
    ///
    /// # Errors
    /// When users do not ascend, or there is more than a u32 counts.
    pub fn finish(self) -> Result<Slates, Error> {
        let Self { items, users, made_ms, mut slates } = self;
        let mut met: Vec<(u64, u32)> = items.into_iter().collect();
        met.sort_unstable();
        let mut places = vec![0; met.len()];
        for (place, (_, id)) in (0..).zip(&met) {
            if let Some(at) = places.get_mut(*id as usize) {
                *at = place;
            }
        }
        for id in &mut slates.ids {
            *id = places.get(*id as usize).copied().unwrap_or_default();
        }
        let items = Handles::new(met.into_iter().map(|(handle, _)| handle).collect())?;
        Slates::new(items, Handles::new(users)?, made_ms, slates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slate(made_ms: u64, items: &[(u64, f32)]) -> Slate {
        let (handles, scores) = items.iter().copied().unzip();
        Slate { made_ms, handles, scores }
    }

    fn sample() -> Slates {
        let mut gathered = Gathered::with_capacity(3, 2);
        gathered.push(5, &slate(70, &[(900, 0.5), (3, -1.0)]));
        gathered.push(6, &slate(71, &[]));
        gathered.push(u64::MAX, &slate(72, &[(3, 2.0), (u64::MAX, 1.0), (900, 1.0)]));
        gathered.finish().unwrap()
    }

    #[test]
    fn a_slate_is_given_as_it_was_made() {
        let slates = sample();
        assert_eq!((slates.users(), slates.items()), (3, 3));
        assert_eq!(slates.slate(5), Some(slate(70, &[(900, 0.5), (3, -1.0)])));
        assert_eq!(slates.slate(6), Some(slate(71, &[])));
        assert_eq!(slates.slate(u64::MAX), Some(slate(72, &[(3, 2.0), (u64::MAX, 1.0), (900, 1.0)])));
        assert_eq!(slates.slate(7), None);
        assert_eq!(Gathered::with_capacity(0, 9).finish().unwrap().slate(5), None);
    }

    #[test]
    fn users_must_ascend() {
        for users in [[2, 1], [1, 1]] {
            let mut gathered = Gathered::with_capacity(2, 1);
            users.iter().for_each(|user| gathered.push(*user, &slate(1, &[])));
            assert!(gathered.finish().is_err());
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written_or_not_at_all() {
        let file = sample().encode();
        assert_eq!(Slates::decode(&file).unwrap(), sample());
        for length in 0..file.len() {
            assert_eq!(Slates::decode(&file[..length]), Err(Error::Damaged), "{length}");
        }
        // Whoever can write files can write their checksums.
        let body = &file[..file.len() - 8];
        for at in (0..body.len()).step_by(4) {
            for value in [u32::MAX, 0x7FFF_FFFF, 3, f32::NAN.to_bits()] {
                let mut changed = body.to_vec();
                changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
                changed.extend(xxhash_rust::xxh3::xxh3_64(&changed).to_le_bytes());
                if let Ok(read) = Slates::decode(&changed) {
                    assert_eq!(Slates::decode(&read.encode()).unwrap(), read);
                }
            }
        }
    }
}
