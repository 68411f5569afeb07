//! A file to write.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// A file to write. With the folders above it (0700 below `/etc/kubernetes` where they are missing) and its owner the
/// writer is concerned.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path, absolute.
    pub path: PathBuf,
    /// Its mode: 0600 for whatever has a private key in it, and for manifests.
    pub mode: u32,
    /// Its content.
    pub content: Content,
}

impl File {
    /// The mode of a file that only root reads.
    pub(crate) const PRIVATE: u32 = 0o600;
    /// The mode of a file that everybody may read.
    pub(crate) const PUBLIC: u32 = 0o644;

    pub(crate) fn new(path: PathBuf, mode: u32, content: impl Into<Content>) -> Self {
        Self { path, mode, content: content.into() }
    }
}

/// A file's content, which may be a secret: it is wiped when dropped, and neither printed nor compared.
#[derive(Clone)]
pub struct Content(Zeroizing<Vec<u8>>);

impl Content {
    /// The bytes, for the file.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The content as text; none if it is no UTF-8.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl From<Zeroizing<Vec<u8>>> for Content {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text.into_bytes()))
    }
}

impl From<Zeroizing<String>> for Content {
    fn from(mut text: Zeroizing<String>) -> Self {
        Self::from(std::mem::take(&mut *text))
    }
}
