//! A way for tests to end the program right after a chosen write.

use std::cell::Cell;
use std::rc::Rc;

/// Counts writes, and ends the process after one of them if it was told to.
#[derive(Debug, Clone, Default)]
pub struct CrashSwitch(Option<Rc<Cell<u64>>>);

impl CrashSwitch {
    /// Ends the process after that many writes; never for `None`.
    pub fn after(writes: Option<u64>) -> Self {
        Self(writes.map(|writes| Rc::new(Cell::new(writes))))
    }

    /// Counts one write that is on the disk now.
    pub fn wrote(&self, what: &str) {
        let Some(left) = &self.0 else { return };
        left.set(left.get().saturating_sub(1));
        if left.get() == 0 {
            tracing::warn!(what, "aborting after this write, as --crash-after-writes asks");
            // As abrupt as a kill: no destructor runs.
            std::process::abort();
        }
    }
}
