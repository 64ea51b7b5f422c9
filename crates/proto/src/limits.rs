//! The limits of what one side takes from another, each with its reason.

/// Bytes of UTF-8 in an id: the specification's limit.
pub const MAX_ID_BYTES: usize = 256;

/// Bytes of one frame to or from the broker. An SDP with every candidate of a host with dozens of interfaces
/// stays under 16 KiB; metadata adds at most [`MAX_METADATA_BYTES`].
pub const MAX_BROKER_FRAME_BYTES: usize = 64 * 1024;

/// Bytes of the JSON text of `options.metadata`: it travels inside a signal.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;

/// Bytes of a login's ID token, in JWS compact form: it travels inside a signal, too.
pub const MAX_LOGIN_BYTES: usize = 16 * 1024;

/// Bytes of a denial's or a closing's reason.
pub const MAX_REASON_BYTES: usize = 1024;

/// Candidates that a remote may name for one attempt: each makes us send packets to an address of its choice.
pub const MAX_REMOTE_CANDIDATES: usize = 64;

/// Bytes of a message as one text frame, without pieces: what both browsers and webrtc-rs carry.
pub const MAX_FRAME_BYTES: usize = 256 * 1024;

/// Attempts of strangers that may be under way at once in one peer, before they are told to come back later.
pub const MAX_INCOMING_ATTEMPTS: usize = 256;
