//! What the system does for a data directory.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// Its owner may read and write, and nobody else anything.
#[cfg(unix)]
const PRIVATE: u32 = 0o600;

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

/// Opens a file for writing that only its owner may read, and makes it if it is not there. A symbolic link is refused:
/// what it leads to belongs to somebody else.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_symlink()) {
        let sentence = format!("{} is a symbolic link. Put a file in its place", path.display());
        return Err(io::Error::other(sentence));
    }
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, PRIVATE);
    let file = options.open(path)?;
    make_private(path)?;
    Ok(file)
}

/// Takes a file that is there away from everybody but its owner.
#[cfg(unix)]
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    match fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Does nothing: the directory's list of access rights counts.
#[cfg(not(unix))]
pub(super) fn make_private(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes the names in a directory outlive a power cut.
#[cfg(unix)]
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Does nothing: the file system sees to it.
#[cfg(not(unix))]
pub(super) fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Lets writes to a file go to the disk directly, past the cache of the system, or no longer. They have to begin and
/// end at a multiple of 4 KiB then, in memory too. Tells whether they do; not every file system can do it.
#[cfg(target_os = "linux")]
pub(super) fn write_directly(file: &File, is_to: bool) -> bool {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    let set = |mut flags: OFlags| {
        flags.set(OFlags::DIRECT, is_to);
        fcntl_setfl(file, flags)
    };
    fcntl_getfl(file).and_then(set).is_ok() == is_to
}

/// Does nothing: every write goes through the cache.
#[cfg(not(target_os = "linux"))]
pub(super) fn write_directly(_file: &File, _is_to: bool) -> bool {
    false
}
