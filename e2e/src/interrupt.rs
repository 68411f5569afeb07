//! Ctrl-C and SIGTERM as a flag: what is being waited for gives up, and the lab is removed on the way out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Turns both signals into the flag. A second signal ends the process at once, as without this.
pub fn install() -> std::io::Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the first signal only raises the flag, the second finds it raised.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&REQUESTED))?;
        signal_hook::flag::register(signal, Arc::clone(&REQUESTED))?;
    }
    Ok(())
}

/// Whether one of the signals came.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
