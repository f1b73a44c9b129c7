//! Who sends a request.

use std::{
    ops::Deref,
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use throttle_core::{Account, By, Oversight, Owner, Quota};

use super::{
    file::Terms,
    rate::Rate,
    rights::{Forbidden, Right, Rights},
};

/// Who sends a request, and what he may do.
#[derive(Debug)]
pub struct Caller {
    account: Account,
    rights: Rights,
    /// How often he may ask for something.
    rate: Option<Rate>,
    /// When what he has shown is no longer right.
    expires: Option<SystemTime>,
    /// Whether nobody has to say who he is.
    is_open: bool,
}

/// A caller, shared by those who work on his request. At an open server nothing is counted for that.
#[derive(Clone, Debug)]
pub enum Asker {
    /// Everybody, at an open server.
    Anybody,
    /// Somebody.
    Known(Arc<Caller>),
}

impl Deref for Asker {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        match self {
            Self::Anybody => &ANYBODY,
            Self::Known(caller) => caller,
        }
    }
}

/// Everybody, at an open server.
static ANYBODY: LazyLock<Arc<Caller>> =
    LazyLock::new(|| Arc::new(Caller { is_open: true, ..Caller::unnamed(Rights::all()) }));

/// Whoever did not say who he is, where that is asked for.
static NOBODY: LazyLock<Arc<Caller>> = LazyLock::new(|| Arc::new(Caller::unnamed(Rights::default())));

/// Whoever asks for what is open to all, at a server that is not.
static PUBLIC: LazyLock<Arc<Caller>> = LazyLock::new(|| Arc::new(Caller::unnamed(Rights::to_read())));

impl Caller {
    /// Somebody of this name, until then.
    pub fn new(identity: &str, terms: Terms, expires: Option<SystemTime>) -> Self {
        let Terms { rights, quotas } = terms;
        let account = Account { owner: Owner::new(identity), quota: quotas.shares };
        Self { account, rights, rate: quotas.rate, expires, is_open: false }
    }

    fn unnamed(rights: Rights) -> Self {
        let account = Account { owner: Owner::NOBODY, quota: Quota::NONE };
        Self { account, rights, rate: None, expires: None, is_open: false }
    }

    /// When what he has shown is no longer right.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Everybody, at an open server.
    pub fn anybody() -> Arc<Self> {
        ANYBODY.clone()
    }

    /// Somebody who may do nothing.
    pub fn nobody() -> Arc<Self> {
        NOBODY.clone()
    }

    /// Whoever asks for what is open to all.
    pub fn public() -> Arc<Self> {
        PUBLIC.clone()
    }

    /// His name, if he has to have one.
    pub fn identity(&self) -> Option<&str> {
        self.account.owner.name()
    }

    /// Whose peers he makes.
    pub fn owner(&self) -> &Owner {
        &self.account.owner
    }

    /// How much his peers may use.
    pub fn quota(&self) -> Quota {
        self.account.quota
    }

    /// How often he may ask for something.
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// What he may do.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// As the core is told of him.
    pub fn by(&self) -> By<'_> {
        if self.is_open {
            By::Anybody
        } else if self.rights.has(Right::Operate) {
            By::Overseer(&self.account, self)
        } else {
            By::Owner(&self.account)
        }
    }

    /// Whether he may do this to a semaphore, whether there is one of that name or not.
    pub fn may(&self, right: Right, semaphore: &str) -> bool {
        self.is_open || self.rights.covers(right, semaphore)
    }

    /// The semaphores that he may operate, as names or patterns.
    pub fn operates(&self) -> Vec<String> {
        if self.is_open { vec!["*".to_owned()] } else { self.rights.over(Right::Operate) }
    }

    /// Whether he may do this to all semaphores.
    pub fn may_all(&self, right: Right) -> bool {
        self.is_open || self.rights.covers_all(right)
    }

    /// Refuses what he may not do to a semaphore.
    pub fn check(&self, right: Right, semaphore: &str) -> Result<(), Forbidden> {
        if self.may(right, semaphore) { Ok(()) } else { Err(self.forbidden(right, Some(semaphore))) }
    }

    /// Refuses what he may do to nothing at all.
    pub fn check_any(&self, right: Right) -> Result<(), Forbidden> {
        if self.is_open || self.rights.has(right) { Ok(()) } else { Err(self.forbidden(right, None)) }
    }

    fn forbidden(&self, right: Right, semaphore: Option<&str>) -> Forbidden {
        let identity = self.identity().unwrap_or_default().to_owned();
        Forbidden { right, semaphore: semaphore.map(str::to_owned), identity }
    }
}

impl Oversight for Caller {
    fn covers(&self, semaphore: &str) -> bool {
        self.rights.covers(Right::Operate, semaphore)
    }

    fn covers_all(&self) -> bool {
        self.rights.covers_all(Right::Operate)
    }
}
