//! Tasks of a server, one after the other on this thread: whoever has something new to do is found by asking all.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// What a server does beside its turns. Each task ends with a `T`.
pub struct Tasks<T> {
    all: Vec<Pin<Box<dyn Future<Output = T>>>>,
}

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        Self { all: Vec::new() }
    }
}

impl<T> Tasks<T> {
    /// Begins one more.
    pub fn spawn(&mut self, task: impl Future<Output = T> + 'static) {
        self.all.push(Box::pin(task));
    }

    /// Lets all of them go on as far as they can. Returns what came of those that ended, in the order in which they
    /// began.
    pub fn poll(&mut self) -> Vec<T> {
        let (mut context, mut ended) = (Context::from_waker(Waker::noop()), Vec::new());
        self.all.retain_mut(|task| match task.as_mut().poll(&mut context) {
            Poll::Ready(done) => {
                ended.push(done);
                false
            }
            Poll::Pending => true,
        });
        ended
    }

    /// Ends all of them where they are. What they asked for may still be done.
    pub fn clear(&mut self) {
        self.all.clear();
    }
}
