//! Which locks to hold: `--semaphore` and the `--count` behind it.

use std::fmt;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, error::ErrorKind};

/// Semaphores and how much to take of each, in the order of the command line. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Name and count of the first.
    pub first: (String, u64),
    /// Name and count of the others.
    pub others: Vec<(String, u64)>,
}

impl Wanted {
    fn pair(semaphores: Vec<(usize, String)>, counts: Vec<(usize, u64)>) -> Result<Self, String> {
        let mut found: Vec<(usize, String, Option<u64>)> = Vec::new();
        for (index, name) in semaphores {
            if found.iter().any(|(_, other, _)| *other == name) {
                return Err(format!("--semaphore {name} is there twice; write --count for more than 1"));
            }
            found.push((index, name, None));
        }
        for (index, count) in counts {
            match found.iter_mut().rfind(|(before, ..)| *before < index) {
                None => return Err(format!("--count {count} belongs behind the --semaphore that it is for")),
                Some((_, name, Some(_))) => return Err(format!("--semaphore {name} has two counts")),
                Some((_, _, none)) => *none = Some(count),
            }
        }
        let mut found = found.into_iter().map(|(_, name, count)| (name, count.unwrap_or(1)));
        let first = found.next().ok_or("a --semaphore is needed")?;
        Ok(Self { first, others: found.collect() })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, count)) in std::iter::once(&self.first).chain(&self.others).enumerate() {
            if position > 0 {
                formatter.write_str(" and ")?;
            }
            if *count > 1 {
                write!(formatter, "{count} of ")?;
            }
            formatter.write_str(name)?;
        }
        Ok(())
    }
}

// By hand, as only the positions on the command line tell which count is for which semaphore.
impl Args for Wanted {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new("semaphore")
                    .long("semaphore")
                    .short('s')
                    .value_name("NAME")
                    .required(true)
                    .action(ArgAction::Append)
                    .help("A semaphore to hold a lock of; can be given many times")
                    .long_help(
                        "A semaphore to hold a lock of; can be given many times. They are held together, and \
                         while it waits for that none is. A server up to 0.5 is asked for one after \
                         the other, so there name them from high levels to low ones",
                    ),
            )
            .arg(
                Arg::new("count")
                    .long("count")
                    .short('n')
                    .value_name("N")
                    .action(ArgAction::Append)
                    .value_parser(clap::value_parser!(u64).range(1..=i64::MAX.unsigned_abs()))
                    .help("How much to take of the semaphore before it [default: 1]"),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Wanted {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Self::pair(placed(matches, "semaphore"), placed(matches, "count"))
            .map_err(|wrong| Error::raw(ErrorKind::ValueValidation, wrong))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The values of an argument with their places on the command line.
fn placed<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<(usize, T)> {
    let places = matches.indices_of(name).into_iter().flatten();
    places.zip(matches.get_many(name).into_iter().flatten().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::arguments::{Cli, Command};

    fn wanted(arguments: &str) -> Result<String, String> {
        let all = ["throttle", "run"].into_iter().chain(arguments.split(' ')).chain(["true"]);
        match Cli::try_parse_from(all).map_err(|error| error.to_string())?.command {
            Some(Command::Run(run)) => Ok(run.target.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_count_belongs_to_the_semaphore_before_it() {
        for (arguments, expected) in [
            ("--semaphore A", "A"),
            ("--semaphore A --count 2", "2 of A"),
            ("--semaphore A --semaphore B --count 2", "A and 2 of B"),
            ("--peer 7", "peer 7"),
            ("-s A -n 3 --try -s B --ttl 1m -n 2 -s C", "3 of A and 2 of B and C"),
        ] {
            assert_eq!(wanted(arguments).expect(arguments), expected);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (arguments, expected) in [
            ("--count 2 --semaphore A", "--count 2 belongs behind"),
            ("--semaphore A --count 2 --count 2", "--semaphore A has two counts"),
            ("--semaphore A --semaphore A", "--semaphore A is there twice"),
            ("--semaphore A --count 0", "0 is not in 1.."),
            ("--try", "--semaphore <NAME>"),
            ("--peer 7 --count 2", "cannot be used with"),
            ("--peer seven", "seven"),
        ] {
            let error = wanted(arguments).expect_err(arguments);
            assert!(error.contains(expected), "{arguments}: {error}");
        }
    }
}
