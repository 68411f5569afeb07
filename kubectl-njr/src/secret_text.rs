//! Texts with a secret in them, read so that nothing of them is left in memory.

use std::io::{self, Read};

use zeroize::Zeroizing;

/// Reads so many bytes at the most.
pub fn read(from: impl Read, most: usize) -> io::Result<Zeroizing<String>> {
    // Never moved while it grows: a moved buffer leaves its content behind.
    let mut text = Zeroizing::new(String::with_capacity(most));
    from.take(most as u64).read_to_string(&mut text)?;
    Ok(text)
}
