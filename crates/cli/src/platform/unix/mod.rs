//! Unix.

mod child;
mod disposition;
mod left_behind;
mod memory;
mod signals;
mod terminal;

pub use child::{Change, Child};
pub use memory::{Memory, large_pages_on_request};
pub use signals::{Signal, Signals};

use std::{
    fs::{File, Metadata},
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
};

/// The process that started this one, unless that has ended.
pub fn parent() -> Option<u32> {
    Some(std::os::unix::process::parent_id()).filter(|parent| *parent > 1)
}

/// Whether the standard output is this file.
pub fn is_standard_output(file: &Metadata) -> bool {
    let ours = io::stdout().as_fd().try_clone_to_owned().and_then(|ours| File::from(ours).metadata());
    ours.is_ok_and(|ours| (ours.dev(), ours.ino()) == (file.dev(), file.ino()))
}
