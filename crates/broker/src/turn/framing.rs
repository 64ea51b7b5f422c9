//! STUN messages and ChannelData on a stream (RFC 8656, section 12.4: padded to four bytes). Pure.

use super::message::HEADER;

/// Bytes of the largest frame: a length of 16 bits, its header, and the padding. Nobody has to keep more.
pub(crate) const MAX_FRAME: usize = HEADER + u16::MAX as usize + 3;

/// What lies at the beginning of a stream's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Not yet a whole frame.
    More,
    /// A frame: its bytes, and how many it takes with its padding.
    Whole(usize, usize),
    /// Neither STUN nor ChannelData: the rest makes no sense either.
    Wrong,
}

/// Looks at the beginning of what has come.
pub(crate) fn frame(bytes: &[u8]) -> Frame {
    let Some(&[first, _, l1, l2]) = bytes.first_chunk() else {
        return if bytes.first().is_some_and(|first| first & 0x80 != 0) { Frame::Wrong } else { Frame::More };
    };
    let length = usize::from(u16::from_be_bytes([l1, l2]));
    let (whole, padded) = match first >> 6 {
        0 if length.is_multiple_of(4) => (HEADER + length, HEADER + length),
        1 => (4 + length, 4 + length.next_multiple_of(4)),
        _ => return Frame::Wrong,
    };
    if bytes.len() < padded { Frame::More } else { Frame::Whole(whole, padded) }
}

/// The first byte of a TLS connection, a handshake record: no frame begins so.
pub(crate) const TLS: u8 = 0x16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_frames() {
        let channel = [0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0, 0x40];
        assert_eq!(frame(&channel), Frame::Whole(9, 12));
        for length in 0..12 {
            assert_eq!(frame(&channel[..length]), Frame::More);
        }
        let mut stun = [0; 28];
        stun[3] = 8;
        assert_eq!(frame(&stun), Frame::Whole(28, 28));
        assert_eq!(frame(&stun[..27]), Frame::More);
        stun[3] = 7;
        assert_eq!(frame(&stun), Frame::Wrong);
        assert_eq!(frame(&[0x80]), Frame::Wrong);
        assert_eq!(frame(&[0xc0, 0, 0, 0]), Frame::Wrong);
    }

    proptest! {
        #[test]
        fn every_frame_ends_and_makes_progress(bytes: Vec<u8>) {
            if let Frame::Whole(whole, padded) = frame(&bytes) {
                prop_assert!(4 <= whole && whole <= padded && padded <= bytes.len() && padded <= MAX_FRAME);
            }
        }
    }
}
