//! What the lines of a file say of each query, collected.
//!
//! Why not a plain map: the lines of one query mostly follow each other, and a look into a map for each of ten million
//! lines would take longer than reading them.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

/// A value for each query that was named.
#[derive(Debug, Default)]
pub struct ByQuery<T> {
    /// Query of the last line.
    last: Option<(String, T)>,
    others: HashMap<String, T, RandomState>,
}

impl<T: Default> ByQuery<T> {
    /// The value of a query; one that was not named yet has the default.
    pub fn of(&mut self, query: &str) -> &mut T {
        let same = self.last.take_if(|(last, _)| last == query);
        let (query, value) = same.unwrap_or_else(|| {
            self.others.extend(self.last.take());
            self.others.remove_entry(query).unwrap_or_else(|| (query.to_owned(), T::default()))
        });
        &mut self.last.insert((query, value)).1
    }

    /// All of them, bytewise ascending by query.
    pub fn sorted(self) -> BTreeMap<String, T> {
        self.others.into_iter().chain(self.last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_any_order_reach_their_query() {
        let mut all = ByQuery::<Vec<u32>>::default();
        for (query, n) in ["b", "b", "a", "b", "c", "a"].into_iter().zip(1..) {
            all.of(query).push(n);
        }
        let sorted: Vec<_> = all.sorted().into_iter().collect();
        let wanted = [("a", vec![3, 6]), ("b", vec![1, 2, 4]), ("c", vec![5])];
        assert_eq!(sorted, wanted.map(|(query, lines)| (query.to_owned(), lines)));
        assert_eq!(ByQuery::<u32>::default().sorted().len(), 0);
    }
}
