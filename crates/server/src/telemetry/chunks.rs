//! GELF messages compressed, and divided into datagrams.

use std::io::{self, Write as _};

use flate2::{Compression, write::ZlibEncoder};

/// The largest datagram that is sent, in bytes: it passes every common network in one piece.
pub(super) const DATAGRAM: usize = 1420;
const HEADER: usize = 12;
const MAGIC: [u8; 2] = [0x1e, 0x0f];
/// Receivers discard a message of more chunks.
const MOST: usize = 128;

/// The message with zlib compression.
pub(super) fn compress(message: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(message.len() / 2), Compression::fast());
    encoder.write_all(message)?;
    encoder.finish()
}

/// The datagrams that carry a compressed message, as GELF divides it; `None` if it is too large to be sent.
pub(super) fn divide(message: Vec<u8>, id: u64) -> Option<Vec<Vec<u8>>> {
    if message.len() <= DATAGRAM {
        return Some(vec![message]);
    }
    let parts = message.chunks(DATAGRAM - HEADER);
    if parts.len() > MOST {
        return None;
    }
    let count = u8::try_from(parts.len()).ok()?;
    let datagram = |(number, part): (u8, &[u8])| {
        let mut datagram = Vec::with_capacity(HEADER + part.len());
        datagram.extend_from_slice(&MAGIC);
        datagram.extend_from_slice(&id.to_be_bytes());
        datagram.extend_from_slice(&[number, count]);
        datagram.extend_from_slice(part);
        datagram
    };
    Some((0..count).zip(parts).map(datagram).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_message() {
        assert_eq!(divide(vec![0; DATAGRAM], 1).map(|parts| parts.len()), Some(1));
        assert_eq!(divide(vec![0; DATAGRAM + 1], 1).map(|parts| parts.len()), Some(2));
        let most = MOST * (DATAGRAM - HEADER);
        let parts = divide(vec![7; most], 0x0102_0304_0506_0708).expect("fits");
        assert_eq!(parts.len(), MOST);
        assert!(parts.iter().all(|part| part.len() == DATAGRAM));
        assert_eq!(parts[127][..HEADER], [0x1e, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8, 127, 128]);
        assert_eq!(divide(vec![7; most + 1], 1), None);
    }
}
