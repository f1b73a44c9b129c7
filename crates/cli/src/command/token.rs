//! `throttle token`: makes tokens for a server, and tells whether one is right.

use std::{
    env,
    error::Error,
    fs,
    io::{self, BufRead as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use throttle_service::{
    printable::printable,
    security::{
        Quotas, Tokens,
        token::{Secret, is_well_formed},
    },
};

/// The longest token that is read.
const TOKEN_BYTES: u64 = 4096;

/// The subcommands of `throttle token`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum TokenCommand {
    /// Makes a token, writes its hash into a file, and shows it: once
    New(New),
    /// Tells whose a token is and what he may do
    ///
    /// The token is read from `THROTTLE_TOKEN`, from the file that `THROTTLE_TOKEN_FILE` names, or from standard
    /// input: on a command line, others could see it.
    Check(CheckToken),
}

/// Arguments of `throttle token new`.
#[derive(Debug, Clone, clap::Args)]
pub struct New {
    /// Who shows the token
    #[arg(value_name = "NAME")]
    pub name: String,
    /// After how long it is no longer right, such as 90d [default: never]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub expires: Option<Duration>,
    /// What he may do, such as read or acquire:etl/*, if the file says nothing of him yet; can be given many times
    #[arg(long, value_name = "RIGHT")]
    pub allow: Vec<String>,
    /// The file of tokens; made if it is not there
    #[arg(long, default_value = "tokens.toml", value_name = "FILE")]
    pub file: PathBuf,
}

/// Arguments of `throttle token check`.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckToken {
    /// The file of tokens
    #[arg(long, default_value = "tokens.toml", value_name = "FILE")]
    pub file: PathBuf,
}

impl TokenCommand {
    /// Does it. The error is one line.
    pub fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        match self {
            Self::New(new) => new.run(out),
            Self::Check(check) => check.run(out),
        }
    }
}

impl New {
    fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        let secret = Secret::of(&random);
        let before = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("{}: cannot be read: {error}", self.file.display()).into()),
        };
        let entry = self.entry(&before, &secret)?;
        let tokens = write(&self.file, &(before + &entry))?;
        writeln!(out, "{}", secret.reveal())?;
        let rights = tokens.terms_of(&self.name).rights.to_string();
        let name = printable(&self.name);
        if rights.is_empty() {
            eprintln!(
                "{name:?} may do nothing yet: add an [[identity]] with this name and what it may do (allow) to {}.",
                self.file.display()
            );
        } else {
            eprintln!(
                "{name:?} may: {rights}. The token is not kept anywhere; {} has its hash.",
                self.file.display()
            );
        }
        Ok(())
    }

    /// What is added to the file.
    fn entry(&self, before: &str, secret: &Secret) -> Result<String, Box<dyn Error>> {
        let (name, hash) = (toml_string(&self.name), secret.hash());
        let start = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        let expires = match self.expires {
            None => String::new(),
            Some(length) => {
                let at = SystemTime::now().checked_add(length).ok_or("--expires is too long")?;
                format!("expires = {}\n", humantime::format_rfc3339_seconds(at))
            }
        };
        let identity = if self.allow.is_empty() {
            String::new()
        } else {
            let allow: Vec<_> = self.allow.iter().map(|right| toml_string(right)).collect();
            format!("\n[[identity]]\nname = {name}\nallow = [{}]\n", allow.join(", "))
        };
        Ok(format!("{start}[[token]]\nidentity = {name}\nhash = \"{hash}\"\n{expires}{identity}"))
    }
}

impl CheckToken {
    fn run(&self, out: &mut dyn io::Write) -> Result<(), Box<dyn Error>> {
        let token = shown()?;
        if !is_well_formed(&token) {
            return Err(
                "That is no token: its form or its checksum is not right. Was all of it copied?".into()
            );
        }
        let tokens = Tokens::read(&self.file, Quotas::NONE)?;
        let expiry = tokens.expiry(&token).map(|at| humantime::format_rfc3339_seconds(at).to_string());
        let Some(caller) = tokens.find(&token, SystemTime::now()) else {
            return Err(match expiry {
                Some(at) => format!("The token has expired, at {at}.").into(),
                None => format!("The token is not known to {}.", self.file.display()).into(),
            });
        };
        let rights = caller.rights().to_string();
        writeln!(out, "identity: {}", printable(caller.identity().unwrap_or_default()))?;
        writeln!(out, "expires:  {}", expiry.as_deref().unwrap_or("never"))?;
        writeln!(out, "allow:    {}", if rights.is_empty() { "nothing" } else { &rights })?;
        Ok(())
    }
}

/// The token that this process is shown.
fn shown() -> Result<String, Box<dyn Error>> {
    let text = match (env::var("THROTTLE_TOKEN"), env::var_os("THROTTLE_TOKEN_FILE")) {
        (Ok(token), _) if !token.is_empty() => token,
        (_, Some(path)) => {
            let path = PathBuf::from(path);
            fs::read_to_string(&path)
                .map_err(|error| format!("{}: cannot be read: {error}", path.display()))?
        }
        _ => {
            let mut text = String::new();
            io::Read::take(io::stdin().lock(), TOKEN_BYTES).read_line(&mut text)?;
            text
        }
    };
    Ok(text.trim().to_owned())
}

/// Puts a text in the place of a file as a whole, if it is a right file of tokens. A server that looks at the file sees
/// the old one or the new one.
fn write(file: &Path, text: &str) -> Result<Tokens, Box<dyn Error>> {
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let new = target.with_extension(format!("{}.new", std::process::id()));
    let outcome = replace(&target, &new, text);
    if outcome.is_err() {
        let _ = fs::remove_file(&new);
    }
    outcome
}

fn replace(target: &Path, new: &Path, text: &str) -> Result<Tokens, Box<dyn Error>> {
    let failed = |error: io::Error| format!("{}: cannot be written: {error}", new.display());
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut written = options.open(new).map_err(failed)?;
    written.write_all(text.as_bytes()).and_then(|()| written.sync_all()).map_err(failed)?;
    if let Ok(before) = fs::metadata(target) {
        fs::set_permissions(new, before.permissions()).map_err(failed)?;
    }
    let name = new.display().to_string();
    let tokens = Tokens::read(new, Quotas::NONE)
        .map_err(|error| error.to_string().replace(&name, &target.display().to_string()))?;
    fs::rename(new, target).map_err(failed)?;
    Ok(tokens)
}

/// Text as TOML writes it.
fn toml_string(text: &str) -> String {
    // JSON's escapes are among those of TOML's basic strings.
    serde_json::Value::from(text).to_string()
}
