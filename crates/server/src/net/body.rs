//! Reading the body of a request, up to a size and within a time.

use std::{fmt, pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::time::timeout;

/// Why a request's body could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// It is larger than the limit, in bytes: 413.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It did not arrive in time: 408.
    Late,
    /// It ended early or is malformed: 400, if anybody still reads it.
    Broken(String),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => {
                write!(f, "The body of the request is larger than the limit of {limit} bytes.")
            }
            Self::Late => f.write_str("The body of the request did not arrive in time."),
            Self::Broken(reason) => write!(f, "The body of the request could not be read: {reason}."),
        }
    }
}

impl std::error::Error for BodyError {}

/// Reads a body of at most `limit` bytes, for `patience` at most.
///
/// After an error, answer and drop the body: the connection takes what the client still sends, within bounds, so
/// that it can read the answer.
///
/// # Errors
///
/// If the body is too large, which is known at once where its length is announced; late; or broken.
pub async fn read_body<B>(body: B, limit: usize, patience: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    timeout(patience, read(body, limit)).await.unwrap_or(Err(BodyError::Late))
}

async fn read<B>(body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    let too_large = BodyError::TooLarge { limit };
    if usize::try_from(body.size_hint().lower()).map_or(true, |least| least > limit) {
        return Err(too_large);
    }
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    // Once all that was announced is there, nobody need be asked for more.
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > limit {
            return Err(too_large);
        }
        // Nearly every body comes in one piece, which is handed on as it is.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}
