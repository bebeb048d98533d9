//! A bus of simulated sensors: the same for unit tests, integration tests and `--simulate`.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::i2c::mux::Channel;
use crate::i2c::{Address, Bus, Error};

mod chip;
mod faults;
mod load;

pub use chip::{Chip, Counts};
pub use faults::{Fault, Faults, Injected};
pub use load::Load;

/// Bus clocks that a word takes: start, three address and register bytes, two of data, each with its acknowledge, stop.
const CLOCKS_PER_WORD: u32 = 47;
/// Bus clocks that a single byte takes.
const CLOCKS_PER_BYTE: u32 = 20;
/// What a Pi's adapter waits for a stuck bus.
const ADAPTER_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a transfer that hangs looks whether the fault has an end.
const HANG_POLL: Duration = Duration::from_millis(50);

/// The wires with the chips on them, for whoever sets the scene.
pub struct Board {
    clock: Arc<dyn Clock>,
    made: Instant,
    hertz: u32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// On the trunk, or behind a channel of a multiplexer.
    chips: BTreeMap<(Option<Channel>, Address), Chip>,
    /// The multiplexers' control registers: a bit opens a channel.
    multiplexers: BTreeMap<Address, u8>,
    faults: Vec<Injected>,
    words: u64,
    switches: u64,
    /// What another master will write to a multiplexer, and before which word.
    meddling: Vec<(u64, Address, u8)>,
}

impl Board {
    /// An empty board with a bus clock of `hertz`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, hertz: u32) -> Arc<Self> {
        let made = clock.now();
        Arc::new(Self {
            clock,
            made,
            hertz,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Puts a chip on the trunk of the bus.
    pub fn plug(&self, address: Address, chip: Chip) {
        self.plug_at(None, address, chip);
    }

    /// Puts a chip on the trunk, or behind a channel of a multiplexer, which comes with it.
    pub fn plug_at(&self, channel: Option<Channel>, address: Address, chip: Chip) {
        let mut state = self.state();
        if let Some(channel) = channel {
            state.multiplexers.entry(channel.multiplexer).or_default();
        }
        state.chips.insert((channel, address), chip);
    }

    /// Whether a chip is plugged in there.
    #[must_use]
    pub fn has(&self, channel: Option<Channel>, address: Address) -> bool {
        self.state().chips.contains_key(&(channel, address))
    }

    /// Takes a chip off the trunk.
    pub fn unplug(&self, address: Address) -> Option<Chip> {
        self.state().chips.remove(&(None, address))
    }

    /// Sets a multiplexer's control register behind the daemon's back.
    pub fn switch(&self, multiplexer: Address, control: u8) {
        self.state().multiplexers.insert(multiplexer, control);
    }

    /// Lets another master set a multiplexer's control register after so many more words.
    pub fn write_as_other_master(&self, words: u64, multiplexer: Address, control: u8) {
        let mut state = self.state();
        let at = state.words + words;
        state.meddling.push((at, multiplexer, control));
    }

    /// A multiplexer's control register.
    #[must_use]
    pub fn control(&self, multiplexer: Address) -> Option<u8> {
        self.state().multiplexers.get(&multiplexer).copied()
    }

    /// How often a multiplexer's control register was written.
    #[must_use]
    pub fn switches(&self) -> u64 {
        self.state().switches
    }

    /// Lets something go wrong, from now on, with every chip.
    pub fn inject(&self, fault: Fault) {
        self.schedule(Injected {
            fault,
            address: None,
            from: self.elapsed(),
            until: None,
        });
    }

    /// Lets something go wrong at its time.
    pub fn schedule(&self, fault: Injected) {
        self.state().faults.push(fault);
    }

    /// Ends every fault; what it did to a chip stays.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
        self.changed.notify_all();
    }

    /// Looks at a chip on the trunk, or changes it.
    ///
    /// # Panics
    /// If there is none at `address`.
    pub fn chip<R>(&self, address: Address, with: impl FnOnce(&mut Chip) -> R) -> R {
        self.chip_at(None, address, with)
    }

    /// Looks at a chip wherever it is, or changes it.
    ///
    /// # Panics
    /// If there is none.
    pub fn chip_at<R>(
        &self,
        channel: Option<Channel>,
        address: Address,
        with: impl FnOnce(&mut Chip) -> R,
    ) -> R {
        let mut state = self.state();
        with(
            state
                .chips
                .get_mut(&(channel, address))
                .expect("a chip is plugged in there"),
        )
    }

    /// Lets so much time pass.
    pub fn let_pass(&self, time: Duration) {
        self.clock.wait(time);
    }

    /// Words transferred so far, failed ones included.
    #[must_use]
    pub fn words(&self) -> u64 {
        self.state().words
    }

    /// The bus as the daemon sees it.
    #[must_use]
    pub fn bus(self: &Arc<Self>) -> SimulatedBus {
        SimulatedBus(Arc::clone(self))
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.made)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nobody panics with the board in hand")
    }

    /// One transfer: takes its time, suffers its faults, and reaches whoever is at the address, which are several where channels
    /// of a multiplexer are open that should not be.
    fn transfer<T>(
        &self,
        address: Address,
        clocks: u32,
        access: impl FnOnce(&mut State, Duration) -> Option<T>,
    ) -> Result<T, Error> {
        self.clock
            .wait(Duration::from_secs(1) * clocks / self.hertz);
        let mut state = self.state();
        state.words += 1;
        state.write_as_other_master();
        let mut now = self.elapsed();
        while state.suffers(Fault::Hang, address, now) {
            let wait = self.changed.wait_timeout(state, HANG_POLL);
            state = wait.expect("nobody panics with the board in hand").0;
            now = self.elapsed();
        }
        if state.suffers(Fault::Timeout, address, now) {
            drop(state);
            self.clock.wait(ADAPTER_TIMEOUT);
            return Err(Error::from_errno(110)); // ETIMEDOUT
        }
        if state.suffers(Fault::ArbitrationLost, address, now) {
            return Err(Error::from_errno(11)); // EAGAIN
        }
        if state.suffers(Fault::NoAnswer, address, now) {
            return Err(Error::from_errno(121)); // EREMOTEIO
        }
        state.happen(address, now);
        access(&mut state, now).ok_or(Error::from_errno(121))
    }

    fn with_chips(
        &self,
        address: Address,
        access: impl Fn(&mut Chip, Duration) -> u16,
    ) -> Result<u16, Error> {
        self.transfer(address, CLOCKS_PER_WORD, |state, now| {
            state.reach(address, now, access)
        })
    }
}

impl State {
    fn suffers(&self, fault: Fault, address: Address, now: Duration) -> bool {
        self.faults
            .iter()
            .any(|f| f.fault == fault && f.concerns(address, now))
    }

    /// Every chip that hears its address; where several answer, a 0 wins on the wire.
    fn reach(
        &mut self,
        address: Address,
        now: Duration,
        access: impl Fn(&mut Chip, Duration) -> u16,
    ) -> Option<u16> {
        let wrong_identity = self.suffers(Fault::WrongIdentity, address, now);
        let overflow = self.suffers(Fault::Overflow, address, now);
        let slow = self.suffers(Fault::SlowClock, address, now);
        let controls = &self.multiplexers;
        let is_open = |channel: Channel| {
            controls
                .get(&channel.multiplexer)
                .is_some_and(|control| control >> channel.channel & 1 == 1)
        };
        let mut word = None;
        for ((channel, at), chip) in &mut self.chips {
            if *at != address || !channel.is_none_or(is_open) {
                continue;
            }
            chip.die = if wrong_identity { 0x2260 } else { 0x2270 };
            chip.overloaded = overflow;
            chip.slow_down(if slow { 1.1 } else { 1.0 }, now);
            word = Some(word.unwrap_or(u16::MAX) & access(chip, now));
        }
        word
    }

    fn write_as_other_master(&mut self) {
        let words = self.words;
        for (_, multiplexer, control) in self.meddling.extract_if(.., |(at, ..)| *at <= words) {
            self.multiplexers.insert(multiplexer, control);
        }
    }

    /// Faults that happen once.
    fn happen(&mut self, address: Address, now: Duration) {
        let Some(index) = self
            .faults
            .iter()
            .position(|f| f.fault.is_event() && f.concerns(address, now))
        else {
            return;
        };
        let event = self.faults.remove(index);
        for ((_, at), chip) in &mut self.chips {
            if event.address.is_none_or(|only| only == *at) {
                match event.fault {
                    Fault::BrownOut => chip.power_on(now),
                    _ => chip.write(0x00, 0x6007, now),
                }
            }
        }
    }
}

/// The daemon's end of a [`Board`].
pub struct SimulatedBus(Arc<Board>);

impl Bus for SimulatedBus {
    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error> {
        self.0
            .with_chips(address, |chip, now| chip.read(register, now))
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error> {
        let write = |chip: &mut Chip, now| {
            chip.write(register, word, now);
            0
        };
        self.0.with_chips(address, write).map(drop)
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
        self.0.transfer(address, CLOCKS_PER_BYTE, |state, _| {
            *state.multiplexers.get_mut(&address)? = byte;
            state.switches += 1;
            Some(())
        })
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
        self.0.transfer(address, CLOCKS_PER_BYTE, |state, _| {
            state.multiplexers.get(&address).copied()
        })
    }
}

#[cfg(test)]
mod tests;
