//! Every file that the fuzzer found worth keeping still does no harm.

use std::{fs, path::Path};

use throttle_fuzz::TARGETS;

#[test]
fn the_corpora_do_no_harm() {
    for (name, run) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files: Vec<_> =
            fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
        files.sort();
        assert!(files.len() >= 10, "{name} has {} files", files.len());
        for file in files {
            let data = fs::read(&file).expect("readable");
            // Shown if it panics.
            eprintln!("{}", file.display());
            run(&data);
        }
    }
}
