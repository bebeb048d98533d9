//! An adapter that was unplugged.

use std::sync::Mutex;

use super::*;
use crate::i2c::{self, BoundDriver, ErrorKind};

/// The bus of an unplugged adapter. Records when a transfer was attempted, in seconds.
struct Unplugged(Arc<SimulatedClock>, Arc<Mutex<Vec<u64>>>);

impl Unplugged {
    fn fail<T>(&self) -> Result<T, i2c::Error> {
        self.1.lock().unwrap().push(self.0.elapsed().as_secs());
        Err(i2c::Error { kind: ErrorKind::Closed, errno: 19 })
    }
}

impl Bus for Unplugged {
    fn bound_driver(&self, _: Address) -> Option<BoundDriver> {
        None
    }

    fn read_word(&mut self, _: Address, _: u8) -> Result<u16, i2c::Error> {
        self.fail()
    }

    fn write_word(&mut self, _: Address, _: u8, _: u16) -> Result<(), i2c::Error> {
        self.fail()
    }

    fn send_byte(&mut self, _: Address, _: u8) -> Result<(), i2c::Error> {
        self.fail()
    }

    fn receive_byte(&mut self, _: Address) -> Result<u8, i2c::Error> {
        self.fail()
    }
}

#[test]
fn missing_adapter_is_looked_for_as_often_as_logged() {
    let mut scene = scene(&[secs(1)]);
    let attempts = Arc::<Mutex<Vec<u64>>>::default();
    scene.sampler.bus = Box::new(Unplugged(scene.clock.clone(), attempts.clone()));
    let text = scene.run_logged(secs(40));
    assert_eq!(*attempts.lock().unwrap(), [0, 1, 3, 7, 15, 25, 35]);
    let message = "adapter not available (errno 19); retrying in 1s, backing off to 10s\n";
    assert!(text.lines().count() == 1 && text.ends_with(message), "{text}");
}
