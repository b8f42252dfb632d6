//! Work in the background that gives way to what somebody waits for.

/// How much a thread gives way to others.
pub const NICE: i32 = 10;

/// Lowers the priority of this thread, and of those that it begins.
#[cfg(target_os = "linux")]
pub fn give_way() {
    // On Linux a priority is a thread's own, whatever POSIX says.
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(%error, "background work runs at the priority of everything else");
    }
}

/// Elsewhere a priority is the whole process's.
#[cfg(not(target_os = "linux"))]
pub fn give_way() {}
