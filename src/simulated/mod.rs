//! A bus of simulated sensors: the same for unit tests, integration tests and `--simulate`.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::bus::{Address, Bus, Error};
use crate::clock::Clock;

mod chip;
pub mod faults;
mod load;

pub use chip::{Chip, Counts};
pub use faults::{Fault, Injected};
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
    chips: BTreeMap<Address, Chip>,
    faults: Vec<Injected>,
    words: u64,
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

    /// Puts a chip on the bus.
    pub fn plug(&self, address: Address, chip: Chip) {
        self.state().chips.insert(address, chip);
    }

    /// Whether a chip is plugged in at `address`.
    #[must_use]
    pub fn has(&self, address: Address) -> bool {
        self.state().chips.contains_key(&address)
    }

    /// Takes a chip off the bus.
    pub fn unplug(&self, address: Address) -> Option<Chip> {
        self.state().chips.remove(&address)
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
    pub fn heal(&self) {
        self.state().faults.clear();
        self.changed.notify_all();
    }

    /// Looks at a chip, or changes it.
    ///
    /// # Panics
    /// If there is none at `address`.
    pub fn chip<R>(&self, address: Address, with: impl FnOnce(&mut Chip) -> R) -> R {
        with(
            self.state()
                .chips
                .get_mut(&address)
                .expect("a chip is plugged in there"),
        )
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

    /// One transfer: takes its time, suffers its faults, and reaches the chip.
    fn transfer<T>(
        &self,
        address: Address,
        clocks: u32,
        access: impl FnOnce(&mut Chip, Duration) -> T,
    ) -> Result<T, Error> {
        self.clock
            .spend(Duration::from_secs(1) * clocks / self.hertz);
        let mut state = self.state();
        state.words += 1;
        let mut now = self.elapsed();
        while state.suffers(Fault::Hang, address, now) {
            let wait = self.changed.wait_timeout(state, HANG_POLL);
            state = wait.expect("nobody panics with the board in hand").0;
            now = self.elapsed();
        }
        if state.suffers(Fault::Timeout, address, now) {
            drop(state);
            self.clock.spend(ADAPTER_TIMEOUT);
            return Err(Error::from_errno(110)); // ETIMEDOUT
        }
        if state.suffers(Fault::ArbitrationLost, address, now) {
            return Err(Error::from_errno(11)); // EAGAIN
        }
        if state.suffers(Fault::NoAnswer, address, now) {
            return Err(Error::from_errno(121)); // EREMOTEIO
        }
        state.happen(address, now);
        let wrong_identity = state.suffers(Fault::WrongIdentity, address, now);
        let overflow = state.suffers(Fault::Overflow, address, now);
        let slow = state.suffers(Fault::SlowClock, address, now);
        let chip = state
            .chips
            .get_mut(&address)
            .ok_or(Error::from_errno(121))?;
        chip.die = if wrong_identity { 0x2260 } else { 0x2270 };
        if overflow {
            chip.load = Load::steady(36.0, 15.0);
        }
        chip.slow_down(if slow { 1.1 } else { 1.0 }, now);
        Ok(access(chip, now))
    }
}

impl State {
    fn suffers(&self, fault: Fault, address: Address, now: Duration) -> bool {
        self.faults
            .iter()
            .any(|f| f.fault == fault && f.concerns(address, now))
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
        for (at, chip) in &mut self.chips {
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
        self.0.transfer(address, CLOCKS_PER_WORD, |chip, now| {
            chip.read(register, now)
        })
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error> {
        self.0.transfer(address, CLOCKS_PER_WORD, |chip, now| {
            chip.write(register, word, now);
        })
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
        self.0
            .transfer(address, CLOCKS_PER_BYTE, |chip, _| chip.point(byte))
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
        self.0.transfer(address, CLOCKS_PER_BYTE, Chip::high_byte)
    }
}

#[cfg(test)]
mod tests;
