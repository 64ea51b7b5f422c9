//! The addon of Node.js: the engine that `js/engine-native.js` asks for, over `linkup-driver` and `linkup-broker`.
//!
//! Glue only; no rule of linkup's lives here. JavaScript holds numbers, never objects: free functions with handles
//! cost a sixth of native classes. Everything that Rust has to say goes through one mailbox per JavaScript
//! environment, with one weak thread-safe function as its doorbell.

// napi exports nothing to a test build, so there nobody calls anything.
#![cfg_attr(test, allow(dead_code))]

mod authorize;
mod embedded;
mod engine;
mod mailbox;
mod registry;
mod runtime;
mod servers;
mod sink;
