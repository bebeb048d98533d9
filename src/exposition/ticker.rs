//! The thread that ticks.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::{Exposition, View};
use crate::clock::{Clock, SystemClock};

enum Message {
    Tick,
    Show(Vec<View>),
    Reloaded(bool, SystemTime),
}

/// Tells the ticking thread what changed. It ends when the last of these is dropped.
#[derive(Clone)]
pub struct Ticker(Sender<Message>);

impl Ticker {
    const PERIOD: Duration = Duration::from_secs(1);

    /// Starts the thread.
    ///
    /// # Errors
    /// What the kernel says if there can't be another thread.
    pub fn spawn(exposition: Exposition) -> io::Result<Self> {
        let (messages, received) = mpsc::channel();
        thread::Builder::new()
            .name("ticker".to_owned())
            .spawn(move || run(exposition, &received))?;
        Ok(Self(messages))
    }

    /// A sensor went up or down: the next tick is now.
    pub fn tick(&self) {
        self.send(Message::Tick);
    }

    /// The sensors of a new configuration.
    pub fn show(&self, views: Vec<View>) {
        self.send(Message::Show(views));
    }

    /// How a load of the configuration went.
    pub fn reloaded(&self, successful: bool, at: SystemTime) {
        self.send(Message::Reloaded(successful, at));
    }

    fn send(&self, message: Message) {
        // The thread outlives every sender; if it died of a panic, so did the process.
        let _ = self.0.send(message);
    }
}

/// Ticks on a grid of seconds, and between when something changed; late by more than a period, it starts a new grid.
fn run(mut exposition: Exposition, messages: &Receiver<Message>) {
    let clock = SystemClock;
    let mut next = clock.now();
    loop {
        let now = clock.now();
        if now >= next {
            next = (next + Ticker::PERIOD).max(now);
        }
        exposition.tick(now);
        match messages.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(message) => {
                take(&mut exposition, message);
                for message in messages.try_iter() {
                    take(&mut exposition, message);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn take(exposition: &mut Exposition, message: Message) {
    match message {
        Message::Tick => {}
        Message::Show(views) => exposition.show(views, SystemClock.now()),
        Message::Reloaded(successful, at) => exposition.reloaded(successful, at),
    }
}
