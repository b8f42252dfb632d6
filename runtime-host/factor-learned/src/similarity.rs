//! Neighbours of items and of users, and what users did.
//!
//! The file: items, users, entries of each of three tables (u32 each); handles of
//! items and of users (u64); then of each table its offsets, ids and scores.

use funnelweb_core::limits;

use crate::{
    format::{Error, Reader, Writer},
    handles::Handles,
    store::{Lists, Relation},
    table::Table,
};

const KIND: [u8; 4] = *b"FWsm";
const VERSION: u32 = 1;

/// What the job `similarity` makes. Ids are places in the handles.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Similarity {
    items: Handles,
    users: Handles,
    similar_items: Table,
    similar_users: Table,
    user_items: Table,
}

impl Similarity {
    /// Of items and users, with a list for each in the tables of that name.
    ///
    /// # Errors
    /// When the tables do not fit the handles.
    pub fn new(
        items: Handles,
        users: Handles,
        similar_items: Table,
        similar_users: Table,
        user_items: Table,
    ) -> Result<Self, Error> {
        similar_items.check(items.len(), items.len())?;
        similar_users.check(users.len(), users.len())?;
        user_items.check(users.len(), items.len())?;
        Ok(Self { items, users, similar_items, similar_users, user_items })
    }

    /// The lists of these handles, of each at most the `limit` first.
    #[must_use]
    pub fn related(&self, relation: Relation, handles: &[u64], limit: usize) -> Lists {
        let (from, to, table) = match relation {
            Relation::SimilarItems => (&self.items, &self.items, &self.similar_items),
            Relation::SimilarUsers => (&self.users, &self.users, &self.similar_users),
            Relation::UserItems => (&self.users, &self.items, &self.user_items),
        };
        let range = |handle: &u64| from.id(*handle).map_or(0..0, |id| table.range(id, limit));
        let ranges: Vec<_> = handles.iter().map(range).collect();
        let entries = ranges.iter().map(ExactSizeIterator::len).sum();
        let mut lists = Lists {
            offsets: Vec::with_capacity(handles.len() + 1),
            handles: Vec::with_capacity(entries),
            scores: Vec::with_capacity(entries),
        };
        lists.offsets.push(0);
        for range in ranges {
            let ids = table.ids.get(range.clone()).unwrap_or_default();
            // Checked: every id is that of a handle.
            lists.handles.extend(ids.iter().map(|id| to.all().get(*id as usize).copied().unwrap_or_default()));
            lists.scores.extend_from_slice(table.scores.get(range).unwrap_or_default());
            lists.offsets.push(lists.handles.len() as u32);
        }
        lists
    }

    /// As a file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let tables = [&self.similar_items, &self.similar_users, &self.user_items];
        let mut to = Writer::new(KIND, VERSION, self.bytes());
        // No table has more than a u32 counts, nor have handles.
        to.u32s(&[self.items.len() as u32, self.users.len() as u32]);
        to.u32s(&tables.map(|table| table.ids.len() as u32));
        to.u64s(self.items.all());
        to.u64s(self.users.all());
        for table in tables {
            table.write(&mut to);
        }
        to.finish()
    }

    /// From a file.
    ///
    /// # Errors
    /// When it is not what [`encode`](Self::encode) made.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut from = Reader::new(bytes, KIND, VERSION)?;
        let (items, users) = (from.count()?, from.count()?);
        let entries = [from.count()?, from.count()?, from.count()?];
        let [item_entries, user_entries, histories] = entries;
        let item_handles = Handles::new(from.u64s(items)?)?;
        let user_handles = Handles::new(from.u64s(users)?)?;
        let similar_items = Table::read(&mut from, items, item_entries)?;
        let similar_users = Table::read(&mut from, users, user_entries)?;
        let user_items = Table::read(&mut from, users, histories)?;
        from.end()?;
        Self::new(item_handles, user_handles, similar_items, similar_users, user_items)
    }

    /// Bytes in memory, and of the file about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let tables = self.similar_items.bytes() + self.similar_users.bytes() + self.user_items.bytes();
        self.items.bytes() + self.users.bytes() + tables
    }
}

/// How long the lists of `rows` rows may be so that three such tables and their
/// handles are no longer than a blob may be; at most [`limits::RELATED`].
#[must_use]
pub fn longest_lists(rows: usize) -> usize {
    // A row has a handle, its part and an offset; an entry an id and a score.
    let bytes = (limits::BLOB_BYTES / 3).saturating_sub(rows.saturating_mul(24));
    (bytes / 8 / rows.max(1)).min(limits::RELATED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lists: &[&[(u32, f32)]]) -> Table {
        let mut table = Table::empty(0);
        for list in lists {
            table.ids.extend(list.iter().map(|(id, _)| id));
            table.scores.extend(list.iter().map(|(_, score)| score));
            table.offsets.push(table.ids.len() as u32);
        }
        table
    }

    fn sample() -> Similarity {
        Similarity::new(
            Handles::new(vec![5, 6, u64::MAX]).unwrap(),
            Handles::new(vec![1, 2]).unwrap(),
            table(&[&[(2, 0.9), (1, 0.5)], &[], &[(0, 0.9)]]),
            table(&[&[(1, 0.25)], &[(0, 0.25)]]),
            table(&[&[(0, 3.0), (2, 1.0)], &[(1, 1.0)]]),
        )
        .unwrap()
    }

    #[test]
    fn lists_are_of_what_was_asked_for() {
        let related = |relation, handles: &[u64], limit| {
            let Lists { offsets, handles, scores } = sample().related(relation, handles, limit);
            (offsets, handles, scores)
        };
        let all = related(Relation::SimilarItems, &[5, 7, 6, u64::MAX, 5], 9);
        assert_eq!(all.0, [0, 2, 2, 2, 3, 5]);
        assert_eq!(all.1, [u64::MAX, 6, 5, u64::MAX, 6]);
        assert_eq!(all.2, [0.9, 0.5, 0.9, 0.9, 0.5]);
        assert_eq!(related(Relation::SimilarItems, &[5], 1), (vec![0, 1], vec![u64::MAX], vec![0.9]));
        assert_eq!(related(Relation::SimilarUsers, &[2, 5], 9), (vec![0, 1, 1], vec![1], vec![0.25]));
        assert_eq!(related(Relation::UserItems, &[1, 2], 1), (vec![0, 1, 2], vec![5, 6], vec![3.0, 1.0]));
        assert_eq!(related(Relation::UserItems, &[], 1), (vec![0], vec![], vec![]));
    }

    #[test]
    fn a_file_is_read_as_it_was_written_or_not_at_all() {
        let nothing =
            Similarity::new(Handles::default(), Handles::default(), Table::empty(0), Table::empty(0), Table::empty(0))
                .unwrap();
        assert_eq!(
            Similarity::decode(&nothing.encode()).unwrap().related(Relation::UserItems, &[1], 1),
            Lists::empty(1)
        );
        let file = sample().encode();
        assert_eq!(Similarity::decode(&file).unwrap(), sample());
        for length in 0..file.len() {
            assert_eq!(Similarity::decode(&file[..length]), Err(Error::Damaged), "{length}");
        }
        for bit in 0..8 * file.len() {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Similarity::decode(&flipped), Err(Error::Damaged), "{bit}");
        }
    }

    /// Whoever can write files can write their checksums.
    #[test]
    fn what_contradicts_itself_is_refused() {
        let file = sample().encode();
        let body = &file[..file.len() - 8];
        for at in (0..body.len()).step_by(4) {
            for value in [u32::MAX, 0x7FFF_FFFF, 0x00FF_FFFF, 3, f32::NAN.to_bits()] {
                let mut changed = body.to_vec();
                changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
                let sum = xxhash_rust::xxh3::xxh3_64(&changed);
                changed.extend(sum.to_le_bytes());
                // Refused, or as sound as any other.
                if let Ok(read) = Similarity::decode(&changed) {
                    assert_eq!(Similarity::decode(&read.encode()).unwrap(), read);
                }
            }
        }
        assert_eq!(Similarity::decode(&[0; 100]), Err(Error::Damaged));
        let other = Writer::new(*b"FWxx", 1, 0).finish();
        assert_eq!(Similarity::decode(&other), Err(Error::Kind));
        let newer = Writer::new(KIND, VERSION + 1, 0).finish();
        assert_eq!(Similarity::decode(&newer), Err(Error::Kind));
    }

    #[test]
    fn the_longest_lists_fit_a_blob() {
        for rows in [0, 3, 1000, 100_000, 1_000_000, 10_000_000, 1_000_000_000] {
            let longest = longest_lists(rows);
            let entries = rows * longest;
            assert!(longest == 0 || 3 * (24 * rows + 8 * entries) <= limits::BLOB_BYTES, "{rows}: {longest}");
        }
        assert_eq!(longest_lists(3), limits::RELATED);
        assert_eq!(longest_lists(1_000_000), 41);
    }
}
