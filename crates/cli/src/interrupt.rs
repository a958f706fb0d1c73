//! Ending early: Ctrl-C and SIGTERM end a command at its next step, so that everything it began is undone.
//!
//! Deliberately absent: ending the process inside a handler, which would leave files aside.

use std::{
    io::{self, Write},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use envelope::Digest;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::CliError;

/// Waits for a signal, and makes [`Abortable`] writers fail from then on.
pub(crate) async fn asked() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        asked = tokio::signal::ctrl_c() => if asked.is_err() { std::future::pending::<()>().await },
        () = terminated => {}
    }
    ASKED.store(true, Ordering::SeqCst);
}

/// Whether the user asked to end.
pub(crate) fn is_asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// From now on an interruption leaves this run behind, which goes on without the command.
pub(crate) fn leaves_running(run: Digest) {
    let _ = RUNNING.set(run);
}

/// How the command ends when the user has asked.
pub(crate) fn error() -> CliError {
    RUNNING.get().map_or(CliError::Interrupted, |run| CliError::InterruptedRun(*run))
}

/// A writer that fails once the user has asked to end.
pub(crate) struct Abortable<W>(pub(crate) W);

impl<W: Write> Write for Abortable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // `Interrupted` would be tried again by the library.
        if is_asked() { Err(io::Error::other("interrupted")) } else { self.0.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

static ASKED: AtomicBool = AtomicBool::new(false);

static RUNNING: OnceLock<Digest> = OnceLock::new();
