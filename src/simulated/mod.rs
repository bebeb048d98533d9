//! Simulated buses with register-level chips, for tests and for `--simulate`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::i2c::mux::Channel;
use crate::i2c::{Address, Bus, Error};
use crate::ina260::registers::Register;

mod chip;
mod faults;

pub use chip::{Chip, Counts, Load};
pub use faults::{Fault, Faults, ScheduledFault};

/// Bus clocks of a word read: start, address, register, repeated start, address, two bytes of data,
/// each byte with its acknowledge. A write takes a byte less.
const CLOCKS_PER_WORD: u32 = 47;
/// Bus clocks of a byte transfer.
const CLOCKS_PER_BYTE: u32 = 20;
/// Timeout of a Raspberry Pi's adapter on a stuck bus.
const ADAPTER_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval at which a blocked transfer checks whether the fault has ended.
const HANG_POLL: Duration = Duration::from_millis(50);

/// A simulated bus with chips and muxes, which tests and `--simulate` can change while it is used.
pub struct Board {
    /// Clock of its transfers and chips.
    pub clock: Arc<dyn Clock>,
    created: Instant,
    hertz: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chips: BTreeMap<(Option<Channel>, Address), Chip>,
    /// Control registers of the muxes: each bit selects a channel.
    multiplexers: BTreeMap<Address, u8>,
    faults: Vec<ScheduledFault>,
    /// Words that replace those read from a register, each with the number of reads before that.
    corruptions: Vec<(u32, Address, Register, u16)>,
    transfers: u64,
    control_writes: u64,
    /// Mux writes of another master, each with the number of the transfer that it precedes.
    foreign_writes: Vec<(u64, Address, u8)>,
}

impl Board {
    /// Returns an empty board with a bus clock of `hertz`.
    pub fn new(clock: Arc<dyn Clock>, hertz: u32) -> Arc<Self> {
        let created = clock.now();
        Arc::new(Self { clock, created, hertz, state: Mutex::default() })
    }

    /// Adds a chip, if there is none yet; with a channel, downstream of its mux, which is added.
    pub fn plug(&self, channel: Option<Channel>, address: Address, chip: Chip) {
        let mut state = self.state();
        if let Some(channel) = channel {
            state.multiplexers.entry(channel.multiplexer).or_default();
        }
        state.chips.entry((channel, address)).or_insert(chip);
    }

    /// Removes a chip that is upstream of all muxes.
    pub fn unplug(&self, address: Address) -> Option<Chip> {
        self.state().chips.remove(&(None, address))
    }

    /// Sets the control register of a mux as another master does, after `transfers` more transfers.
    pub fn write_as_other_master(&self, transfers: u64, multiplexer: Address, control: u8) {
        let mut state = self.state();
        let at = state.transfers + transfers;
        state.foreign_writes.push((at, multiplexer, control));
    }

    /// Returns the control register of a mux.
    pub fn control(&self, multiplexer: Address) -> Option<u8> {
        self.state().multiplexers.get(&multiplexer).copied()
    }

    /// Returns the number of mux writes by the bus.
    pub fn control_writes(&self) -> u64 {
        self.state().control_writes
    }

    /// Injects a fault that affects all chips from now on.
    pub fn inject(&self, fault: Fault) {
        self.schedule(ScheduledFault { fault, address: None, from: self.elapsed(), until: None });
    }

    /// Injects a fault at its time.
    pub fn schedule(&self, fault: ScheduledFault) {
        self.state().faults.push(fault);
    }

    /// Replaces the word of a read of a register, after `skipped` more reads of it.
    pub fn corrupt(&self, skipped: u32, address: Address, register: Register, word: u16) {
        self.state().corruptions.push((skipped, address, register, word));
    }

    /// Ends all faults. Their effects on a chip remain.
    pub fn clear_faults(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.corruptions.clear();
    }

    /// Accesses a chip.
    ///
    /// # Panics
    /// If there is none.
    pub fn chip<R>(
        &self,
        channel: Option<Channel>,
        address: Address,
        access: impl FnOnce(&mut Chip) -> R,
    ) -> R {
        let mut state = self.state();
        access(state.chips.get_mut(&(channel, address)).expect("there is a chip"))
    }

    /// Returns the number of transfers, including failed ones.
    pub fn transfers(&self) -> u64 {
        self.state().transfers
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.created)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Performs a transfer: takes its time on the wire, and applies faults.
    fn transfer<T>(
        &self,
        address: Address,
        clocks: u32,
        access: impl FnOnce(&mut State, Duration) -> Option<T>,
    ) -> Result<T, Error> {
        self.clock.wait(Duration::from_secs(1) * clocks / self.hertz);
        let mut state = self.state();
        state.transfers += 1;
        state.apply_foreign_writes();
        while state.has_fault(Fault::Hang, address, self.elapsed()) {
            drop(state);
            thread::sleep(HANG_POLL);
            state = self.state();
        }
        let now = self.elapsed();
        // ETIMEDOUT, EAGAIN, EREMOTEIO
        let failures =
            [(Fault::Timeout, 110), (Fault::ArbitrationLost, 11), (Fault::NoAnswer, 121)];
        let failure = failures.into_iter().find(|(it, _)| state.has_fault(*it, address, now));
        if let Some((fault, errno)) = failure {
            drop(state);
            if fault == Fault::Timeout {
                self.clock.wait(ADAPTER_TIMEOUT);
            }
            return Err(Error::from_errno(errno));
        }
        state.apply_events(address, now);
        access(&mut state, now).ok_or(Error::from_errno(121))
    }
}

impl State {
    fn has_fault(&self, fault: Fault, address: Address, now: Duration) -> bool {
        self.faults.iter().any(|it| it.fault == fault && it.affects(address, now))
    }

    /// Returns the chips connected at an address: several, if the muxes select too many channels.
    fn connected(&mut self, address: Address, now: Duration) -> impl Iterator<Item = &mut Chip> {
        let [wrong_identity, overflow, slow] =
            [Fault::WrongIdentity, Fault::Overflow, Fault::SlowClock]
                .map(|fault| self.has_fault(fault, address, now));
        let controls = &self.multiplexers;
        let is_selected = |channel: Channel| {
            controls.get(&channel.multiplexer).is_some_and(|it| it >> channel.channel & 1 == 1)
        };
        self.chips
            .iter_mut()
            .filter(move |((channel, at), _)| *at == address && channel.is_none_or(is_selected))
            .map(move |(_, chip)| {
                chip.die = if wrong_identity { 0x2260 } else { 0x2270 };
                chip.overloaded = overflow;
                chip.slow_down(if slow { 1.1 } else { 1.0 }, now);
                chip
            })
    }

    fn apply_foreign_writes(&mut self) {
        let due = self.foreign_writes.extract_if(.., |(at, ..)| *at <= self.transfers);
        self.multiplexers.extend(due.map(|(_, multiplexer, control)| (multiplexer, control)));
    }

    /// Applies a fault that happens once.
    fn apply_events(&mut self, address: Address, now: Duration) {
        let is_event =
            |fault| matches!(fault, Fault::BrownOut | Fault::ForeignWrite | Fault::Corrupt);
        let is_due = |it: &mut ScheduledFault| is_event(it.fault) && it.affects(address, now);
        let Some(event) = self.faults.extract_if(.., is_due).next() else { return };
        for ((_, at), chip) in &mut self.chips {
            if event.address.is_none_or(|only| only == *at) {
                match event.fault {
                    Fault::BrownOut => chip.power_on(now),
                    Fault::Corrupt => self.corruptions.push((0, *at, Register::Current, 0xFFFF)),
                    _ => chip.write(0x00, 0x6007, now),
                }
            }
        }
    }

    /// Returns the word that arrives when `word` is read from a register.
    fn corrupted(&mut self, address: Address, register: u8, word: u16) -> u16 {
        let is_due = |(skipped, at, of, _): &mut (u32, Address, Register, u16)| {
            let is_read = (*at, *of as u8) == (address, register);
            let is_due = is_read && *skipped == 0;
            *skipped -= u32::from(is_read && !is_due);
            is_due
        };
        self.corruptions.extract_if(.., is_due).last().map_or(word, |(.., word)| word)
    }
}

impl Bus for Arc<Board> {
    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error> {
        self.transfer(address, CLOCKS_PER_WORD, |state, now| {
            // On the wire, a 0 overrides a 1.
            let words = state.connected(address, now).map(|chip| chip.read(register, now));
            let word = words.reduce(|one, other| one & other)?;
            Some(state.corrupted(address, register, word))
        })
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error> {
        self.transfer(address, CLOCKS_PER_WORD, |state, now| {
            state.connected(address, now).map(|chip| chip.write(register, word, now)).last()
        })
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
        self.transfer(address, CLOCKS_PER_BYTE, |state, _| {
            *state.multiplexers.get_mut(&address)? = byte;
            state.control_writes += 1;
            Some(())
        })
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
        self.transfer(address, CLOCKS_PER_BYTE, |state, _| {
            state.multiplexers.get(&address).copied()
        })
    }
}

#[cfg(test)]
mod tests;
