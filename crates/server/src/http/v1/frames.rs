//! Parts of event streams, made once for all who read the same.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use axum::body::Bytes;

/// How many parts of streams are kept for others that read the same a little later.
const FRAMES: usize = 16;

/// The last parts of event streams of those who want all events: a thousand readers cost little more than one.
#[derive(Default)]
pub(in crate::http) struct Frames(Mutex<VecDeque<Shared>>);

struct Shared {
    /// The first event, and where its page ends.
    of: (u64, u64),
    bytes: Bytes,
    next: Option<u64>,
}

impl Frames {
    /// The part that begins with the event `from`, on the page that ends at `end`; made now if nobody had it. Beside
    /// it, the number of the event that goes on.
    pub(super) fn get(
        &self,
        from: u64,
        end: u64,
        make: impl FnOnce() -> (Bytes, Option<u64>),
    ) -> (Bytes, Option<u64>) {
        // Held while it is made, so that it is made once.
        let mut frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Shared { bytes, next, .. }) = frames.iter().find(|shared| shared.of == (from, end)) {
            return (bytes.clone(), *next);
        }
        let (bytes, next) = make();
        if frames.len() >= FRAMES {
            frames.pop_front();
        }
        frames.push_back(Shared { of: (from, end), bytes: bytes.clone(), next });
        (bytes, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_made_once_for_all_who_read_the_same() {
        let frames = Frames::default();
        let made = |text: &'static str, next| move || (Bytes::from_static(text.as_bytes()), next);
        let never = || panic!("made twice");
        assert_eq!(frames.get(1, 9, made("a", Some(5))), (Bytes::from_static(b"a"), Some(5)));
        assert_eq!(frames.get(1, 9, never), (Bytes::from_static(b"a"), Some(5)));
        assert_eq!(frames.get(1, 10, made("b", None)), (Bytes::from_static(b"b"), None), "a longer page");
        for from in 100..200 {
            frames.get(from, 200, made("c", None));
        }
        assert_eq!(frames.0.lock().unwrap().len(), FRAMES);
        assert_eq!(frames.get(1, 9, made("d", None)).1, None, "it is forgotten by now");
    }
}
