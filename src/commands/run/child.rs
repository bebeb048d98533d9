//! The command: its process, the signals passed on to it, and how it ended.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgid, getpgrp, kill_process, waitid};

use super::FAILURE;
use crate::signals;

#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// Asks this program to end.
    Signal(signals::Signal),
    Ended(Instant),
}

pub(super) struct Events {
    pub(super) sender: Sender<Event>,
    receiver: Receiver<Event>,
    /// Number of the last signal that has arrived.
    pub(super) signal: Option<i32>,
}

impl Events {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver, signal: None }
    }

    /// Catches the signals, except those that were ignored when this process started.
    pub(super) fn catch() -> io::Result<Self> {
        const CHILD: i32 = Signal::CHILD.as_raw();
        let events = Self::new();
        // Where SIGCHLD is ignored, the kernel discards the status of the command, so it is caught.
        // Other ignored signals are not caught: exec resets handlers to the default action, so the
        // command would no longer ignore them.
        let child = Some(CHILD).filter(|signal| signals::is_ignored(*signal));
        let signals = events.sender.clone();
        signals::on_signals(signals::ending().chain(child), move |signal| {
            signal.number == CHILD || signals.send(Event::Signal(signal)).is_ok()
        })?;
        Ok(events)
    }

    pub(super) fn wait(&mut self, timeout: Duration) -> Option<Event> {
        let event = self.receiver.recv_timeout(timeout).ok();
        if let Some(Event::Signal(signal)) = event {
            self.signal = Some(signal.number);
        }
        event
    }
}

/// Starts a command with the streams of this process. Its end becomes an event.
pub(super) fn start(words: &[OsString], events: &Events) -> io::Result<Child> {
    let ((started, pid), ended) = (mpsc::channel(), events.sender.clone());
    // Before the command: without this thread, nothing would wait for its end.
    thread::Builder::new().name("command".to_owned()).spawn(move || {
        let Ok(pid) = pid.recv() else { return };
        // Does not reap the process: no other process gets its ID before it is reaped.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(pid), options).err() == Some(Errno::INTR) {}
        _ = ended.send(Event::Ended(Instant::now()));
    })?;
    let child = match Command::new(&words[0]).args(&words[1..]).spawn() {
        // A script that names no interpreter, which execvp(3) gives to the shell, too.
        Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            Command::new("/bin/sh").arg(located(&words[0])).args(&words[1..]).spawn()
        }
        spawned => spawned,
    }?;
    _ = started.send(Pid::from_child(&child));
    Ok(child)
}

/// Returns the path at which `PATH` has a command, or the command itself.
fn located(command: &OsStr) -> PathBuf {
    let path = env::var_os("PATH").filter(|_| !command.as_bytes().contains(&b'/'));
    let mut candidates = path.iter().flat_map(env::split_paths).map(|it| it.join(command));
    let is_executable = |it: &PathBuf| it.is_file() && access(it, Access::EXEC_OK).is_ok();
    candidates.find(is_executable).unwrap_or_else(|| command.into())
}

/// Passes a signal on to a command, unless a key of the terminal has sent it to both.
pub(super) fn pass_on(signal: signals::Signal, child: &Child) {
    let pid = Pid::from_child(child);
    // A command that changed its process group, as setsid(1) does, gets nothing from the keys.
    let has_it = signal.is_from_key && getpgid(Some(pid)).is_ok_and(|it| it == getpgrp());
    if let Some(signal) = Signal::from_named_raw(signal.number).filter(|_| !has_it) {
        // Fails only if the command has ended, or runs as another user, as with sudo.
        let _ = kill_process(pid, signal);
    }
}

pub(super) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.or_else(|| status.signal().map(signal_code)).unwrap_or(FAILURE)
}

pub(super) fn signal_code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(FAILURE)
}

pub(super) fn error_code(error: &io::Error) -> u8 {
    match error.kind() {
        ErrorKind::NotFound => 127,
        // No process could be created.
        ErrorKind::WouldBlock | ErrorKind::OutOfMemory => FAILURE,
        _ => 126,
    }
}
