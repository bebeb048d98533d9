//! The adapters that this process has open, each with the lock of its bus.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex};

use super::bus_lock::BusLock;
use crate::i2c::BusName;
use crate::i2c::linux::Claim;

/// The bus that has claimed each adapter, by the kernel's number.
type Claimed = Arc<Mutex<BTreeMap<u32, BusName>>>;

/// An adapter's claim, until it is dropped.
struct ClaimGuard {
    claimed: Claimed,
    adapter: u32,
    _lock_file: Option<BusLock>,
}

/// Returns a function that claims adapters for this process, one bus each, and creates their lock
/// files, which contain `url`.
pub(super) fn claims(url: String) -> Claim {
    let (claimed, locked) = (Claimed::default(), Claimed::default());
    Arc::new(move |bus, adapter| {
        match lock(&claimed).entry(adapter) {
            Entry::Occupied(other) => return Err(*other.get()),
            Entry::Vacant(vacant) => _ = vacant.insert(bus),
        }
        let is_new = lock(&locked).insert(adapter, bus).is_none();
        let lock_file = BusLock::acquire(adapter, &url, is_new);
        Ok(Box::new(ClaimGuard { claimed: claimed.clone(), adapter, _lock_file: lock_file }))
    })
}

fn lock(claimed: &Claimed) -> std::sync::MutexGuard<'_, BTreeMap<u32, BusName>> {
    claimed.lock().expect("no thread panics while it holds the lock")
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        lock(&self.claimed).remove(&self.adapter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_name_of_an_open_adapter_is_refused() {
        let claim = claims("unix:/a".to_owned());
        let (first, second) = (BusName::Path("/dev/i2c-power"), BusName::Number(251));
        let guard = claim(first, 1_000_251).unwrap();
        assert_eq!(claim(second, 1_000_251).err(), Some(first));
        let _other = claim(second, 1_000_252).unwrap();
        drop(guard);
        assert!(claim(second, 1_000_251).is_ok());
    }
}
