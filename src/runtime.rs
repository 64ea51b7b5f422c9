//! The threads of the addon: one tokio runtime for the process, whatever the number of peers and connections.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

/// More threads than this do not help: a connection's work stays on one at a time.
const MAX_THREADS: usize = 4;

/// A thread for each so many cores: JavaScript has the others. With one for each of two cores everything is slower, as
/// connections move from one thread to the other (docs/performance.md).
const CORES_A_THREAD: usize = 2;

/// The process's runtime. It is never dropped: at exit the operating system takes its threads, and waiting for
/// them would hold up `process.exit()`.
///
/// # Errors
/// Where the operating system gives no thread.
pub fn handle() -> Result<Handle, std::io::Error> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle().clone());
    }
    let threads = std::thread::available_parallelism().map_or(1, |n| (n.get() / CORES_A_THREAD).clamp(1, MAX_THREADS));
    let made = Builder::new_multi_thread().worker_threads(threads).thread_name("linkup").enable_all().build()?;
    // Two environments may come here at once; the loser's threads end.
    let runtime = RUNTIME.get_or_init(|| made);
    Ok(runtime.handle().clone())
}
