//! Libraries that stand between a process and the system, loaded with `LD_PRELOAD`.

use std::{fs, path::Path, process::Command};

/// Compiles one, from a source below the tests.
pub(crate) fn compile(source: &str, to: &Path) {
    fs::create_dir_all(to.parent().expect("in a directory")).expect("made");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(source);
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(to).arg(source).arg("-ldl");
    assert!(compiler.status().expect("a C compiler").success());
}
