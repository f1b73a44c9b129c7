//! The documentation of the command line against the command line.

use clap::CommandFactory as _;
use throttle_server::arguments::Cli;

/// What `command` and those below it, as they are typed, have that `docs` do not tell.
fn untold(typed: &str, command: &clap::Command, docs: &str) -> Vec<String> {
    let flags = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let flags = flags.filter_map(|flag| flag.get_long()).map(|long| format!("--{long}"));
    let below = command.get_subcommands().filter(|below| !below.is_hide_set());
    let below: Vec<_> = below.map(|below| (format!("{typed} {}", below.get_name()), below)).collect();
    let names = flags.map(|flag| (format!("{typed} {flag}"), flag));
    let leaf = below.is_empty().then(|| (typed.to_owned(), typed.to_owned()));
    let missing = names.chain(leaf).filter(|(_, told)| !docs.contains(told.as_str()));
    let deeper = below.iter().flat_map(|(typed, below)| untold(typed, below, docs));
    missing.map(|(what, _)| what).chain(deeper).collect()
}

#[test]
fn every_command_and_flag_is_in_the_docs() {
    let docs = concat!(include_str!("../../../../docs/commands.md"), include_str!("../../../../docs/run.md"));
    assert_eq!(untold("throttle", &Cli::command(), docs), [""; 0]);
}
