//! A real etcd: each request goes to one member, with a deadline, and after a failure the next one is asked.

use std::{
    fmt,
    future::Future,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use prost::Message;
use throttle_journal::LogError;
use tokio::{
    runtime::{Handle, Runtime},
    task::JoinHandle,
};
use tonic::metadata::{Ascii, MetadataValue};

pub use crate::members::Tls;
use crate::{
    kv::{EtcdError, Kv},
    members::{Failure, Member},
    proto::{
        AuthenticateRequest, AuthenticateResponse, CompactionRequest, CompactionResponse, LeaseGrantRequest,
        LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
        LeaseRevokeResponse, RangeRequest, RangeResponse, StatusRequest, StatusResponse, TxnRequest,
        TxnResponse,
    },
};

const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";
const COMPACT: &str = "/etcdserverpb.KV/Compact";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
/// How long one member may take to renew a lease: others are to have their turn while it lasts.
const RENEWAL_DEADLINE: Duration = Duration::from_millis(500);

/// How etcd is reached.
#[derive(Clone, Debug)]
pub struct EtcdSettings {
    /// The URLs of its members.
    pub endpoints: Vec<String>,
    /// How long one request to one member may take.
    pub deadline: Duration,
    /// How connections are encrypted, if they are.
    pub tls: Option<Tls>,
    /// Who this server is to etcd, if it asks for that.
    pub user: Option<User>,
}

/// A user of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The file with the password; it is read whenever it is needed.
    pub password_file: PathBuf,
}

/// What a member of etcd says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Where it was asked.
    pub url: String,
    /// What it said, or why it said nothing.
    pub outcome: Result<Health, String>,
}

/// A member of etcd that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Its release.
    pub version: String,
    /// Whether it leads etcd's members.
    pub is_leader: bool,
    /// How large its database is, in bytes.
    pub db_bytes: u64,
    /// How large it may become, in bytes, if the member tells it: those before 3.6 do not.
    pub quota_bytes: Option<u64>,
    /// What is wrong with it, in its own words.
    pub errors: Vec<String>,
}

impl From<StatusResponse> for Health {
    fn from(status: StatusResponse) -> Self {
        Self {
            version: status.version,
            is_leader: status.header.is_some_and(|header| header.member_id == status.leader),
            db_bytes: status.db_size.max(0).cast_unsigned(),
            quota_bytes: (status.db_size_quota > 0).then(|| status.db_size_quota.cast_unsigned()),
            errors: status.errors,
        }
    }
}

/// Connections to the members of an etcd. Cheap to clone.
#[derive(Clone)]
pub struct Etcd(Arc<Inner>);

struct Inner {
    handle: Handle,
    /// Gone only with this.
    runtime: Mutex<Option<Runtime>>,
    settings: EtcdSettings,
    members: Vec<Arc<Member>>,
    /// The one that is asked next.
    at: AtomicUsize,
    token: Mutex<Option<MetadataValue<Ascii>>>,
    is_stopping: AtomicBool,
    held: Mutex<Option<String>>,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Etcd").field(&self.0.settings.endpoints).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // It may be dropped in a task, which must not wait for others to end.
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

impl Etcd {
    /// Connections that are made when they are needed, by a thread of their own: nothing else holds up that a lease is
    /// renewed.
    ///
    /// # Errors
    ///
    /// If a URL or a file of TLS is not right, or there is no endpoint.
    pub fn new(settings: EtcdSettings) -> Result<Self, LogError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("etcd")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let members = {
            let _inside = handle.enter();
            Member::all(&settings)?.into_iter().map(Arc::new).collect()
        };
        Ok(Self(Arc::new(Inner {
            handle,
            runtime: Mutex::new(Some(runtime)),
            settings,
            members,
            at: AtomicUsize::new(0),
            token: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            held: Mutex::default(),
        })))
    }

    /// Waits for something, on a thread that is none of a runtime.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.0.handle.block_on(work)
    }

    /// Runs something beside all else.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.0.handle.spawn(task)
    }

    /// From now on, whatever has no answer is given up.
    pub fn stop(&self) {
        self.0.is_stopping.store(true, Relaxed);
    }

    /// Why something has to be tried again, if it has.
    pub fn why_held(&self) -> Option<String> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What each member says of itself. They are asked at the same time, so that silent ones cost one deadline.
    pub async fn status(&self) -> Vec<MemberStatus> {
        let ask = |member: Arc<Member>| {
            let etcd = self.clone();
            self.spawn(async move {
                let answer = etcd.call(&member, STATUS, StatusRequest {}, etcd.0.settings.deadline).await;
                answer.map(|status: StatusResponse| status.into()).map_err(|error| error.to_string())
            })
        };
        let asked: Vec<_> = self.0.members.iter().cloned().map(ask).collect();
        let mut all = Vec::new();
        for (member, asked) in self.0.members.iter().zip(asked) {
            let outcome = asked.await.unwrap_or_else(|error| Err(error.to_string()));
            all.push(MemberStatus { url: member.url.clone(), outcome });
        }
        all
    }

    /// The one that is asked next.
    fn member(&self) -> Result<(usize, &Member), EtcdError> {
        let Inner { members, at, .. } = &*self.0;
        let index = at.load(Relaxed) % members.len().max(1);
        let member = members.get(index);
        member
            .map(|member| (index, &**member))
            .ok_or_else(|| EtcdError::Refused("there is no endpoint".to_owned()))
    }

    /// Whoever failed first moves on; others who failed at the same member do not move on once more.
    fn move_on(&self, from: usize) {
        let Inner { members, at, .. } = &*self.0;
        let _ = at.compare_exchange(from, (from + 1) % members.len().max(1), Relaxed, Relaxed);
    }

    async fn call<Q, A>(
        &self,
        member: &Member,
        path: &'static str,
        request: Q,
        deadline: Duration,
    ) -> Result<A, EtcdError>
    where
        Q: Message + Clone + Default + 'static,
        A: Message + Default + 'static,
    {
        let token = self.token(member).await?;
        let again = token.is_some().then(|| request.clone());
        match (member.call(path, request, token, deadline).await, again) {
            (Err(Failure { is_unauthenticated: true, .. }), Some(request)) => {
                self.forget_token();
                let token = self.token(member).await?;
                member.call(path, request, token, deadline).await.map_err(|failure| failure.error)
            }
            (answer, _) => answer.map_err(|failure| failure.error),
        }
    }

    /// Sends a request once. After a failure the next member is asked from then on.
    async fn once<Q, A>(&self, path: &'static str, request: Q) -> Result<A, EtcdError>
    where
        Q: Message + Clone + Default + 'static,
        A: Message + Default + 'static,
    {
        let (index, member) = self.member()?;
        let answer = self.call(member, path, request, self.0.settings.deadline).await;
        if matches!(answer, Err(EtcdError::Unknown(_))) {
            self.move_on(index);
        }
        answer
    }

    /// Sends a request that may be repeated without harm: to every member in turn, until one answers.
    async fn ask<Q, A>(&self, path: &'static str, request: Q) -> Result<A, EtcdError>
    where
        Q: Message + Clone + Default + 'static,
        A: Message + Default + 'static,
    {
        let mut outcome = self.once(path, request.clone()).await;
        for _ in 1..self.0.members.len() {
            if !matches!(outcome, Err(EtcdError::Unknown(_))) {
                break;
            }
            outcome = self.once(path, request.clone()).await;
        }
        outcome
    }

    /// What shows etcd who this server is.
    async fn token(&self, member: &Member) -> Result<Option<MetadataValue<Ascii>>, EtcdError> {
        let Some(User { name, password_file }) = &self.0.settings.user else { return Ok(None) };
        if let Some(token) = &*self.0.token.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Some(token.clone()));
        }
        let password = std::fs::read_to_string(password_file).map_err(|error| {
            EtcdError::Refused(format!("cluster.password_file {}: {error}", password_file.display()))
        })?;
        let (name, password) = (name.clone(), password.trim_end_matches(['\r', '\n']).to_owned());
        let request = AuthenticateRequest { name, password };
        let answer = member.call(AUTHENTICATE, request, None, self.0.settings.deadline).await;
        let AuthenticateResponse { token } = answer.map_err(|failure| failure.error)?;
        let mut token = MetadataValue::try_from(token)
            .map_err(|_| EtcdError::Unknown("etcd gave a token that cannot be sent".to_owned()))?;
        token.set_sensitive(true);
        *self.0.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(Some(token))
    }

    fn forget_token(&self) {
        *self.0.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Kv for Etcd {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, EtcdError> {
        self.ask(RANGE, request).await
    }

    async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, EtcdError> {
        self.once(TXN, request).await
    }

    async fn grant(&self, seconds: u64) -> Result<i64, EtcdError> {
        let request = LeaseGrantRequest { ttl: i64::try_from(seconds).unwrap_or(i64::MAX) };
        let answer: LeaseGrantResponse = self.ask(GRANT, request).await?;
        Ok(answer.id)
    }

    /// A keep-alive is a stream of requests in etcd's API; this one has one request and one answer.
    async fn keep_alive(&self, lease: i64) -> Result<bool, EtcdError> {
        let deadline = self.0.settings.deadline.min(RENEWAL_DEADLINE);
        let mut outcome = Err(EtcdError::Unknown("there is no endpoint".to_owned()));
        for _ in 0..self.0.members.len() {
            let (index, member) = self.member()?;
            let token = self.token(member).await?;
            let request = LeaseKeepAliveRequest { id: lease };
            match member.first_of_stream(KEEP_ALIVE, request, token, deadline).await {
                Ok(LeaseKeepAliveResponse { ttl, .. }) => return Ok(ttl > 0),
                Err(Failure { error, is_unauthenticated }) => {
                    if is_unauthenticated {
                        self.forget_token();
                    }
                    self.move_on(index);
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    async fn revoke(&self, lease: i64) -> Result<(), EtcdError> {
        let _: LeaseRevokeResponse = self.ask(REVOKE, LeaseRevokeRequest { id: lease }).await?;
        Ok(())
    }

    async fn compact(&self, revision: i64) -> Result<(), EtcdError> {
        let _: CompactionResponse = self.once(COMPACT, CompactionRequest { revision }).await?;
        Ok(())
    }

    async fn pause(&self, length: Duration) {
        tokio::time::sleep(length).await;
    }

    fn is_stopping(&self) -> bool {
        self.0.is_stopping.load(Relaxed)
    }

    fn held(&self, why: Option<&EtcdError>) {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        if why.is_some() || held.is_some() {
            *held = why.map(ToString::to_string);
        }
    }
}
