//! What the system does for a data directory.

use std::{io, path::Path};

/// Makes a directory that only its owner may enter, and those above it.
#[cfg(unix)]
pub(super) fn create_private_directory(path: &Path) -> io::Result<()> {
    use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt as _};

    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a directory, and those above it.
#[cfg(not(unix))]
pub(super) fn create_private_directory(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Makes the names in a directory outlive a power cut.
#[cfg(unix)]
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// Does nothing: the file system sees to it.
#[cfg(not(unix))]
pub(super) fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}
