//! Simulated buses with register-level chips, for tests and for `--simulate`.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::i2c::mux::Channel;
use crate::i2c::{Address, Bus, Error};
use crate::ina260::registers::Register;

mod chip;
mod faults;
mod load;

pub use chip::{Chip, Counts, Imperfection};
pub use faults::{Corruption, Fault, Faults, InvalidFault, ScheduledFault};
pub use load::Load;

/// Bus clocks of a word transfer: start, three bytes of address and register, two bytes of data,
/// each with its acknowledge, stop.
const CLOCKS_PER_WORD: u32 = 47;
/// Bus clocks of a byte transfer.
const CLOCKS_PER_BYTE: u32 = 20;
/// Timeout of a Raspberry Pi's adapter on a stuck bus.
const ADAPTER_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval at which a blocked transfer checks whether the fault has ended.
const HANG_POLL: Duration = Duration::from_millis(50);

/// A simulated bus with chips and muxes. Tests and `--simulate` change it through this type, the
/// daemon uses its [`SimulatedBus`].
pub struct Board {
    clock: Arc<dyn Clock>,
    created: Instant,
    hertz: u32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    chips: BTreeMap<(Option<Channel>, Address), Chip>,
    /// Control registers of the muxes: each bit selects a channel.
    multiplexers: BTreeMap<Address, u8>,
    faults: Vec<ScheduledFault>,
    corruptions: Vec<Corruption>,
    transfers: u64,
    control_writes: u64,
    /// Mux writes of another master, each with the number of the transfer that it precedes.
    foreign_writes: Vec<(u64, Address, u8)>,
}

impl Board {
    /// Returns an empty board with a bus clock of `hertz`.
    pub fn new(clock: Arc<dyn Clock>, hertz: u32) -> Arc<Self> {
        let created = clock.now();
        Arc::new(Self { clock, created, hertz, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Adds a chip upstream of all muxes.
    pub fn plug(&self, address: Address, chip: Chip) {
        self.plug_at(None, address, chip);
    }

    /// Adds a chip, downstream of a mux channel if one is given. Adds the mux, too.
    pub fn plug_at(&self, channel: Option<Channel>, address: Address, chip: Chip) {
        let mut state = self.state();
        if let Some(channel) = channel {
            state.multiplexers.entry(channel.multiplexer).or_default();
        }
        state.chips.insert((channel, address), chip);
    }

    /// Returns whether there is a chip at the location.
    pub fn has_chip(&self, channel: Option<Channel>, address: Address) -> bool {
        self.state().chips.contains_key(&(channel, address))
    }

    /// Removes a chip that is upstream of all muxes.
    pub fn unplug(&self, address: Address) -> Option<Chip> {
        self.state().chips.remove(&(None, address))
    }

    /// Sets the control register of a mux, as another master does.
    pub fn set_control(&self, multiplexer: Address, control: u8) {
        self.state().multiplexers.insert(multiplexer, control);
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

    /// Corrupts reads of a register.
    pub fn corrupt(&self, corruption: Corruption) {
        self.state().corruptions.push(corruption);
    }

    /// Ends all faults. Their effects on a chip remain.
    pub fn clear_faults(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.corruptions.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// Accesses a chip that is upstream of all muxes.
    ///
    /// # Panics
    /// If there is none at `address`.
    pub fn chip<R>(&self, address: Address, access: impl FnOnce(&mut Chip) -> R) -> R {
        self.chip_at(None, address, access)
    }

    /// Accesses a chip.
    ///
    /// # Panics
    /// If there is none.
    pub fn chip_at<R>(
        &self,
        channel: Option<Channel>,
        address: Address,
        access: impl FnOnce(&mut Chip) -> R,
    ) -> R {
        let mut state = self.state();
        let chip = state.chips.get_mut(&(channel, address));
        access(chip.expect("there is a chip"))
    }

    /// Lets time pass.
    pub fn wait(&self, time: Duration) {
        self.clock.wait(time);
    }

    /// Returns the number of transfers, including failed ones.
    pub fn transfers(&self) -> u64 {
        self.state().transfers
    }

    /// Returns the bus for the daemon.
    pub fn bus(self: &Arc<Self>) -> SimulatedBus {
        SimulatedBus(Arc::clone(self))
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
        let mut now = self.elapsed();
        while state.has_fault(Fault::Hang, address, now) {
            let wait = self.changed.wait_timeout(state, HANG_POLL);
            state = wait.expect("not poisoned").0;
            now = self.elapsed();
        }
        if state.has_fault(Fault::Timeout, address, now) {
            drop(state);
            self.clock.wait(ADAPTER_TIMEOUT);
            return Err(Error::from_errno(110)); // ETIMEDOUT
        }
        // EAGAIN, EREMOTEIO
        for (fault, errno) in [(Fault::ArbitrationLost, 11), (Fault::NoAnswer, 121)] {
            if state.has_fault(fault, address, now) {
                return Err(Error::from_errno(errno));
            }
        }
        state.apply_events(address, now);
        access(&mut state, now).ok_or(Error::from_errno(121))
    }
}

impl State {
    fn has_fault(&self, fault: Fault, address: Address, now: Duration) -> bool {
        self.faults.iter().any(|it| it.fault == fault && it.affects(address, now))
    }

    /// Accesses all chips at an address that are connected: several, if the muxes select channels
    /// that they should not. On the wire, a 0 overrides a 1.
    fn access_chips(
        &mut self,
        address: Address,
        now: Duration,
        access: impl Fn(&mut Chip, Duration) -> u16,
    ) -> Option<u16> {
        let wrong_identity = self.has_fault(Fault::WrongIdentity, address, now);
        let overflow = self.has_fault(Fault::Overflow, address, now);
        let slow = self.has_fault(Fault::SlowClock, address, now);
        let controls = &self.multiplexers;
        let is_selected = |channel: Channel| {
            controls
                .get(&channel.multiplexer)
                .is_some_and(|control| control >> channel.channel & 1 == 1)
        };
        let mut word = None;
        for ((channel, at), chip) in &mut self.chips {
            if *at != address || !channel.is_none_or(is_selected) {
                continue;
            }
            chip.die = if wrong_identity { 0x2260 } else { 0x2270 };
            chip.overloaded = overflow;
            chip.slow_down(if slow { 1.1 } else { 1.0 }, now);
            word = Some(word.unwrap_or(u16::MAX) & access(chip, now));
        }
        word
    }

    fn apply_foreign_writes(&mut self) {
        let transfers = self.transfers;
        let due = |(at, ..): &mut (u64, Address, u8)| *at <= transfers;
        for (_, multiplexer, control) in self.foreign_writes.extract_if(.., due) {
            self.multiplexers.insert(multiplexer, control);
        }
    }

    /// Applies a fault that happens once.
    fn apply_events(&mut self, address: Address, now: Duration) {
        let is_due = |it: &ScheduledFault| it.fault.is_event() && it.affects(address, now);
        let Some(index) = self.faults.iter().position(is_due) else {
            return;
        };
        let event = self.faults.remove(index);
        for ((_, at), chip) in &mut self.chips {
            if event.address.is_none_or(|only| only == *at) {
                match event.fault {
                    Fault::BrownOut => chip.power_on(now),
                    Fault::Corrupt => {
                        let corruption = Corruption::once(*at, Register::Current, 0xFFFF);
                        self.corruptions.push(corruption);
                    }
                    _ => chip.write(0x00, 0x6007, now),
                }
            }
        }
    }
}

/// A [`Board`] as an I2C adapter.
pub struct SimulatedBus(Arc<Board>);

impl Bus for SimulatedBus {
    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error> {
        self.0.transfer(address, CLOCKS_PER_WORD, |state, now| {
            let mut word =
                state.access_chips(address, now, |chip, now| chip.read(register, now))?;
            for corruption in &mut state.corruptions {
                word = corruption.apply(address, register, word);
            }
            state.corruptions.retain(|corruption| corruption.times > 0);
            Some(word)
        })
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error> {
        let write = |chip: &mut Chip, now| {
            chip.write(register, word, now);
            0
        };
        self.0.transfer(address, CLOCKS_PER_WORD, |state, now| {
            state.access_chips(address, now, write).map(drop)
        })
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
        self.0.transfer(address, CLOCKS_PER_BYTE, |state, _| {
            *state.multiplexers.get_mut(&address)? = byte;
            state.control_writes += 1;
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
