//! A table of entries by name, with any number of further keys for each entry.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

/// Something that a [`Table`] holds.
pub trait Entry {
    /// What entries are looked up by, beside their name.
    type Key: Clone + Debug + Eq + Hash;

    /// The entry's unique name.
    fn name(&self) -> &str;

    /// The keys under which the entry is found.
    fn keys(&self) -> Vec<Self::Key>;

    /// The object's resourceVersion as a number; since Kubernetes 1.35 these may be compared (KEP-5504).
    ///
    /// What this process wrote is put into the table at once; the watch then delivers what came before it, which must
    /// not take its place.
    fn version(&self) -> Option<u64>;
}

/// A resourceVersion as a number, if it is one.
pub fn version_number(version: Option<&str>) -> Option<u64> {
    version.and_then(|version| version.parse().ok())
}

/// Entries by name and by key.
///
/// A watch that starts anew lists everything again: [`Table::begin`], [`Table::insert`] for each, [`Table::finish`],
/// which removes what was not listed. Until then the old entries stay.
#[derive(Debug)]
pub struct Table<V: Entry> {
    entries: HashMap<String, Arc<V>>,
    by_key: HashMap<V::Key, BTreeSet<String>>,
    listed: Option<HashSet<String>>,
}

impl<V: Entry> Default for Table<V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), by_key: HashMap::new(), listed: None }
    }
}

impl<V: Entry> Table<V> {
    /// The entry of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<V>> {
        self.entries.get(name)
    }

    /// The entries with this key, in the order of their names.
    pub fn find<'a>(&'a self, key: &V::Key) -> impl Iterator<Item = &'a Arc<V>> + use<'a, V> {
        self.by_key.get(key).into_iter().flatten().filter_map(|name| self.entries.get(name))
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<V>> {
        self.entries.values()
    }

    /// The number of entries with this key.
    pub fn count(&self, key: &V::Key) -> usize {
        self.by_key.get(key).map_or(0, BTreeSet::len)
    }

    /// Adds an entry or replaces an older one of the same name, and returns the one that was replaced.
    ///
    /// An entry that is older than the one in the table is dropped.
    pub fn insert(&mut self, entry: Arc<V>) -> Option<Arc<V>> {
        let name = entry.name().to_owned();
        if let Some(listed) = self.listed.as_mut() {
            listed.insert(name.clone());
        }
        if let Some(present) = self.entries.get(&name)
            && let (Some(present), Some(new)) = (present.version(), entry.version())
            && new < present
        {
            return None;
        }
        let replaced = self.take(&name);
        for key in entry.keys() {
            self.by_key.entry(key).or_default().insert(name.clone());
        }
        self.entries.insert(name, entry);
        replaced
    }

    /// Removes the entry of this name and returns it.
    pub fn remove(&mut self, name: &str) -> Option<Arc<V>> {
        if let Some(listed) = self.listed.as_mut() {
            listed.remove(name);
        }
        self.take(name)
    }

    /// A new list begins.
    pub fn begin(&mut self) {
        self.listed = Some(HashSet::new());
    }

    /// The list is complete: removes and returns the entries that were not in it.
    pub fn finish(&mut self) -> Vec<Arc<V>> {
        let Some(listed) = self.listed.take() else { return Vec::new() };
        let gone: Vec<String> = self.entries.keys().filter(|name| !listed.contains(*name)).cloned().collect();
        gone.iter().filter_map(|name| self.take(name)).collect()
    }

    fn take(&mut self, name: &str) -> Option<Arc<V>> {
        let removed = self.entries.remove(name)?;
        for key in removed.keys() {
            if let Some(names) = self.by_key.get_mut(&key) {
                names.remove(name);
                if names.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Item {
        name: String,
        keys: Vec<u8>,
        version: Option<u64>,
    }

    impl Entry for Item {
        type Key = u8;

        fn name(&self) -> &str {
            &self.name
        }

        fn keys(&self) -> Vec<u8> {
            self.keys.clone()
        }

        fn version(&self) -> Option<u64> {
            self.version
        }
    }

    #[test]
    fn what_is_older_does_not_take_the_place_of_what_is_newer() {
        let item = |version, key| Arc::new(Item { name: "a".to_owned(), keys: vec![key], version: Some(version) });
        let mut table = Table::default();
        table.insert(item(9, 1));
        assert_eq!(table.insert(item(8, 2)), None);
        assert_eq!(table.find(&1).count(), 1);
        assert!(table.insert(item(10, 3)).is_some());
        assert_eq!((table.count(&1), table.count(&3)), (0, 1));
        table.begin();
        table.insert(item(9, 1));
        assert!(table.finish().is_empty());
        assert_eq!(table.count(&3), 1);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(Item),
        Remove(String),
        Relist(Vec<Item>),
    }

    fn item() -> impl Strategy<Value = Item> {
        ("[a-e]", proptest::collection::vec(0..4_u8, 0..3)).prop_map(|(name, keys)| Item { name, keys, version: None })
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            item().prop_map(Step::Insert),
            "[a-e]".prop_map(Step::Remove),
            proptest::collection::vec(item(), 0..4).prop_map(Step::Relist),
        ]
    }

    proptest! {
        /// After any history the table answers as a plain map does that is searched from end to end.
        #[test]
        fn lookups_agree_with_a_walk(steps in proptest::collection::vec(step(), 0..40)) {
            let mut table = Table::default();
            let mut model: BTreeMap<String, Item> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(item) => {
                        table.insert(Arc::new(item.clone()));
                        model.insert(item.name.clone(), item);
                    }
                    Step::Remove(name) => {
                        prop_assert_eq!(table.remove(&name).is_some(), model.remove(&name).is_some());
                    }
                    Step::Relist(items) => {
                        table.begin();
                        let mut next = BTreeMap::new();
                        for item in items {
                            table.insert(Arc::new(item.clone()));
                            next.insert(item.name.clone(), item);
                        }
                        let gone: BTreeSet<_> = table.finish().iter().map(|item| item.name.clone()).collect();
                        let expected: BTreeSet<_> = model.keys().filter(|name| !next.contains_key(*name)).cloned().collect();
                        prop_assert_eq!(gone, expected);
                        model = next;
                    }
                }
                for key in 0..4 {
                    let found: Vec<_> = table.find(&key).map(|item| item.name.clone()).collect();
                    let expected: Vec<_> =
                        model.values().filter(|item| item.keys.contains(&key)).map(|item| item.name.clone()).collect();
                    prop_assert_eq!(found, expected);
                }
                prop_assert_eq!(table.iter().count(), model.len());
            }
            prop_assert!(table.by_key.values().all(|names| !names.is_empty()));
        }
    }
}
