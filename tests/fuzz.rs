//! A fuzz harness without a special compiler: inputs of a corpus are mutated, and those whose
//! outcome is of a new kind are mutated further.
//!
//! `cargo test --test fuzz` runs a fixed number of inputs, the same each time. `make fuzz` sets
//! `FUZZ_SECONDS` and a random `FUZZ_SEED`. An input that fails is written to `target/fuzz/`; as a
//! file in `tests/fuzz/TARGET/` it becomes part of the corpus.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "random numbers, reduced to an index"
)]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use ina260_exporter::clock::{Clock, SimulatedClock};
use ina260_exporter::config::{self, Overrides};
use ina260_exporter::i2c::{Address, Bus, Error};
use ina260_exporter::ina260::alert::Alert;
use ina260_exporter::ina260::calibration::Calibration;
use ina260_exporter::ina260::settings::Settings;
use ina260_exporter::ina260::{Ina260, read_settings};
use ina260_exporter::meter::SharedMeter;
use ina260_exporter::sampler::{Sampler, Setup};
use ina260_exporter::scrape::{self, Url};
use ina260_exporter::simulated::{Board, Chip, Load};
use ina260_exporter::state::{RestoreError, Store};

/// Number of inputs if `FUZZ_SECONDS` is not set.
const INPUTS: usize = 300;
/// Upper bound on the length of an input, in bytes.
const MAX_LENGTH: usize = 16 << 10;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Pseudo-random numbers: xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// Writes the input that is being tried to a file if a test panics.
struct Tried<'a> {
    target: &'a str,
    input: Vec<u8>,
}

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let directory = Path::new("target/fuzz");
            fs::create_dir_all(directory).unwrap();
            let path = directory.join(format!("{}.failed", self.target));
            fs::write(&path, &self.input).unwrap();
            eprintln!("the input is in {}", path.display());
        }
    }
}

/// Returns an input of the corpus with one to four changes.
fn mutate(random: &mut Random, corpus: &[Vec<u8>], tokens: &[&[u8]]) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(16)).min(input.len());
        match random.below(9) {
            0 if at < end => input[at] ^= 1 << random.below(8),
            1 if at < end => input[at] = *random.one_of(&[&0, &b'\n', &b'"', &b' ', &0x7F, &0xFF]),
            2 => drop(input.drain(at..end)),
            3 => {
                let part = input[at..end].to_vec();
                let times = 1 << random.below(10);
                drop(input.splice(at..at, part.repeat(times)));
            }
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let part = other[from..].to_vec();
                drop(input.splice(at.., part));
            }
            5 => {
                let digits = |byte: &u8| byte.is_ascii_digit();
                if let Some(start) = input[at..].iter().position(digits).map(|start| at + start) {
                    let end = input[start..].iter().position(|byte| !digits(byte));
                    let end = end.map_or(input.len(), |end| start + end);
                    let number = random.one_of::<[u8]>(&[
                        b"0",
                        b"1",
                        b"-1",
                        b"65535",
                        b"65536",
                        b"4294967296",
                        b"18446744073709551615",
                        b"18446744073709551616",
                        b"340282366920938463463374607431768211456",
                        b"1e308",
                        b"1e-320",
                        b"NaN",
                        b"inf",
                    ]);
                    drop(input.splice(start..end, number.iter().copied()));
                }
            }
            6 => {
                // Repeats a line at another place.
                let line = input.split_inclusive(|byte| *byte == b'\n').nth(random.below(64));
                let line = line.unwrap_or_default().to_vec();
                drop(input.splice(at..at, line));
            }
            _ => drop(input.splice(at..at, random.one_of(tokens).iter().copied())),
        }
        input.truncate(MAX_LENGTH);
    }
    input
}

/// Runs a target on many inputs; `run` returns the outcome of one, as text.
fn fuzz(target: &str, tokens: &[&[u8]], mut run: impl FnMut(&[u8]) -> String) {
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let time = number("FUZZ_SECONDS").map(Duration::from_secs);
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let mut random = Random(seed.wrapping_mul(2).wrapping_add(1));
    let files = fs::read_dir(Path::new("tests/fuzz").join(target)).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let mut corpus: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let (given, begun) = (corpus.len(), Instant::now());
    let mut kinds = HashSet::new();
    let mut tried = Tried { target, input: Vec::new() };
    let mut count = 0;
    while time.map_or(count < INPUTS, |time| begun.elapsed() < time) {
        // First the corpus as it is.
        tried.input = match corpus.get(count).filter(|_| count < given) {
            Some(input) => input.clone(),
            None => mutate(&mut random, &corpus, tokens),
        };
        let outcome = run(&tried.input);
        // Without what a message quotes.
        let outcome = outcome.split('"').next().unwrap_or_default();
        let kind = outcome.chars().filter(|c| !c.is_ascii_digit()).take(60).collect::<String>();
        if kinds.insert(kind) && count >= given {
            corpus.push(tried.input.clone());
        }
        count += 1;
    }
    let kinds = kinds.len();
    println!("{target}: seed {seed}, {count} inputs, {kinds} kinds of outcomes");
    assert!(count > given, "no input but those of the corpus");
}

/// Returns a temporary directory, in memory if there is such a file system, and the path of a file
/// in it.
fn directory_with(file: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = directory.path().join(file);
    (directory, path)
}

#[test]
fn mutated_configurations_are_loaded_or_refused() {
    let tokens: &[&[u8]] = &[
        b"[[sensor]]\n",
        b"device = \"a\"\n",
        b"alert = { on = \"over-current\", limit = \"1A\" }\n",
        b"mux = { address = 0x70, channel = 1 }\n",
        b"interval = ",
        b"labels = { a = \"b\" }\n",
        b"\"1ms\"",
        b"\"\"\"",
        b"[[[[",
        b"= \"unix:/a\"\n",
        b"\xC2\x9B",
        b"\xE2\x80\xAE",
        b"\\u0000",
        b"#",
    ];
    let (_directory, path) = directory_with("fuzz.toml");
    let load = || {
        let overrides = Overrides { config: Some(path.clone()), ..Overrides::default() };
        config::load(&overrides, [])
    };
    fuzz("configuration", tokens, |input| {
        fs::write(&path, input).unwrap();
        match load() {
            Ok(loaded) => {
                fs::write(&path, &loaded.effective).unwrap();
                let again = load().unwrap_or_else(|problems| panic!("{problems}"));
                assert_eq!(again.plan, loaded.plan);
                format!("ok {}", loaded.plan.sensors.len().min(3))
            }
            Err(problems) => {
                for message in problems.messages() {
                    assert!(!message.contains(char::is_control), "{message:?}");
                }
                problems.to_string().replace(path.to_str().unwrap(), "")
            }
        }
    });
}

/// Checks what is decoded from a response.
fn decode(body: &scrape::Body) -> String {
    match scrape::decode(body) {
        Ok(scrape) => {
            assert!(scrape.sensors.len() <= scrape::MAX_SENSORS);
            let readings = scrape.sensors.iter().filter_map(|sensor| sensor.readings);
            for readings in readings {
                for measured in [readings.last, readings.min, readings.max] {
                    let values = [measured.voltage.0, measured.current.0, measured.power.0];
                    assert!(values.iter().all(|value| value.is_finite()), "{measured:?}");
                }
            }
            let with = |has: fn(&scrape::ScrapedSensor) -> bool| {
                scrape.sensors.iter().filter(|sensor| has(sensor)).count().min(2)
            };
            // Letters, since digits are ignored in an outcome.
            let count = |count: usize| ["none", "one", "many"][count];
            [
                count(with(|_| true)),
                count(with(|sensor| sensor.readings.is_some())),
                count(with(|sensor| sensor.chip.is_some())),
                count(with(|sensor| sensor.alert.is_some())),
            ]
            .join(" ")
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() < 1_000, "{message}");
            message
        }
    }
}

#[test]
fn mutated_scrapes_are_decoded_or_refused() {
    let tokens: &[&[u8]] = &[
        b"ina260_up{device=\"a\"} 1\n",
        b"ina260_bus_voltage_volts{device=\"a\"} 5\n",
        b"ina260_current_amperes{device=\"a\"} NaN\n",
        b"ina260_sensor_info{device=\"a\",bus=\"",
        b"# HELP ",
        b"\\n",
        b"\\\"",
        b"{",
        b"}",
        b"HTTP/1.1 200 OK\r\n",
        b"Content-Length: ",
        b"Location: ",
        b"\r\n\r\n",
        b"<title>",
        b"\xFF\xFE",
    ];
    let (_directory, path) = directory_with("fuzz.sock");
    let url: Url = format!("unix:{}", path.display()).parse().unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    let response = Arc::<Mutex<Vec<u8>>>::default();
    let served = response.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let response = served.lock().unwrap().clone();
            let _ = stream.write_all(&response);
        }
    });
    fuzz("scrape", tokens, |input| {
        if !input.starts_with(b"HTTP/") {
            return decode(&String::from_utf8_lossy(input).into_owned().into());
        }
        input.clone_into(&mut response.lock().unwrap());
        match url.get(TIMEOUT) {
            Ok(body) => decode(&body),
            Err(error) => error.to_string(),
        }
    });
}

/// Ends the text with its checksum (64-bit FNV-1a), so that not all inputs fail its check.
fn with_checksum(text: &[u8]) -> Vec<u8> {
    let line = b"checksum ";
    let end = text.windows(line.len()).rposition(|part| part == line).unwrap_or(text.len());
    let mut text = text[..end].to_vec();
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    text.extend(format!("checksum {hash:016x}\n").as_bytes());
    text
}

#[test]
fn mutated_counters_are_restored_or_refused() {
    const MACHINE: &str = "0123456789abcdef";
    let tokens: &[&[u8]] = &[
        b"\"version\": 2,",
        b"\"machine\": \"0123456789abcdef\",",
        b"\"sensors\": [",
        b"\"counters\": {",
        b"\"address\": \"0x41\",",
        b"ina260-exporter totals, version 1\n",
        b"sensor 1 0x70:3 0x40\n",
        b"name ",
        b"results 7\n",
        b"checksum ",
        b"[[[[[[[[",
        b"\xFF",
    ];
    let (directory, path) = directory_with("totals");
    let store = Store::new(directory.path(), MACHINE);
    let mut turn = 0;
    fuzz("counters", tokens, |input| {
        turn += 1;
        let file = if turn % 8 == 0 { input.to_vec() } else { with_checksum(input) };
        fs::write(&path, &file).unwrap();
        let loaded = store.load_and_remove();
        assert!(!path.exists());
        match loaded {
            Ok(sensors) => {
                store.save(sensors.clone()).unwrap();
                assert_eq!(store.load_and_remove().unwrap(), sensors);
                ["no sensor", "a sensor", "sensors"][sensors.len().min(2)].to_owned()
            }
            Err(RestoreError::Foreign(aside)) => {
                assert_eq!(fs::read(aside).unwrap(), file);
                "refused".to_owned()
            }
            Err(error) => panic!("{error}"),
        }
    });
}

/// A bus on which the input replaces the chips' responses and makes transfers fail.
struct Faulty<B> {
    bus: B,
    input: Vec<u8>,
    at: usize,
}

impl<B: Bus> Faulty<B> {
    fn next(&mut self) -> u8 {
        self.at += 1;
        self.input.get(self.at - 1).copied().unwrap_or_default()
    }

    /// Returns the next byte of the input, or the error that it stands for.
    fn fault(&mut self) -> Result<u8, Error> {
        match self.next() {
            0xF0 => Err(Error::from_errno(121)),
            0xF1 => Err(Error::from_errno(110)),
            0xF2 => Err(Error::from_errno(11)),
            0xF3 => Err(Error::from_errno(5)),
            byte => Ok(byte),
        }
    }

    fn corrupted(&mut self, byte: u8, word: u16) -> u16 {
        match byte {
            0xE0..0xE8 => u16::from_be_bytes([self.next(), self.next()]),
            0xE8..0xF0 => word ^ (1 << (self.next() % 16)),
            _ => word,
        }
    }
}

impl<B: Bus> Bus for Faulty<B> {
    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error> {
        let byte = self.fault()?;
        let word = self.bus.read_word(address, register)?;
        Ok(self.corrupted(byte, word))
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error> {
        self.fault()?;
        self.bus.write_word(address, register, word)
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
        self.fault()?;
        self.bus.send_byte(address, byte)
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
        let byte = self.fault()?;
        let word = self.bus.receive_byte(address)?;
        Ok(self.corrupted(byte, word.into()) as u8)
    }
}

/// The first bytes set up a sensor, the others are faults of its bus over some seconds.
#[test]
fn mutated_words_leave_consistent_totals() {
    let tokens: &[&[u8]] = &[
        b"\xE0\x61\x27",
        b"\xE0\x80\x00",
        b"\xE0\xFF\xFF",
        b"\xE0\x00\x08",
        b"\xE8\x0F",
        b"\xF0\xF0",
        b"\xF1\xF1",
        b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    ];
    fuzz("words", tokens, |input| {
        let byte = |index: usize| input.get(index).copied().unwrap_or_default();
        let clock = Arc::new(SimulatedClock::default());
        let board = Board::new(clock.clone(), 400_000);
        let address = Address(0x40);
        let current = f64::from(byte(0).cast_signed()) / 10.0;
        board.plug(None, address, Chip::new(Load::steady(12.0, current)));
        let settings = Settings::from_word(0x6000 | u16::from_be_bytes([byte(1), byte(2)]) | 7);
        let calibration = Calibration { reverse: byte(3) & 1 != 0, ..Calibration::default() };
        let limit = u16::from_be_bytes([byte(4), byte(5)]);
        let mask = u16::from_be_bytes([byte(6), 0]);
        let meter = SharedMeter::default();
        let setup = Setup {
            name: "sensor".to_owned(),
            channel: None,
            chip: Ina260 {
                address,
                settings,
                alert: Alert::from_words(mask, limit, &calibration),
                configure: byte(3) & 2 == 0,
                power_guard: byte(3) & 4 == 0,
            },
            calibration,
            always_power: byte(3) & 8 == 0,
            meter: meter.clone(),
        };
        let bytes = input.get(7..).unwrap_or_default().to_vec();
        let mut direct = Faulty { bus: board.clone(), input: bytes.clone(), at: 0 };
        let _ = read_settings(&mut direct, address).map(|dump| dump.settings());
        let bus = Box::new(Faulty { bus: board.clone(), input: bytes, at: 0 });
        let begun = clock.now();
        let on_change = Arc::new(|| {});
        let mut sampler =
            Sampler::new("bus".to_owned(), bus, vec![setup], clock.clone(), on_change);
        for _ in 0..200 {
            let due = sampler.poll_due();
            clock.advance_to(due.max(clock.now()));
        }
        let now = clock.now();
        let mut meter = meter.lock();
        // Time after the last result is otherwise accounted with the next one.
        meter.accumulator.mark_down(now);
        let totals = meter.accumulator.totals(now);
        assert_eq!(totals.measured + totals.unmeasured, now - begun, "{totals:?}");
        // 16 bits of 1.25 mV: bit 15 of a chip is always 0, but a word that is read twice counts.
        let volts = 65_535.0 * 0.001_25;
        // Voltage times current, which exceeds the full scale of the power register.
        let max = volts * 40.96 * (now - begun).as_secs_f64() * 1e18;
        #[expect(clippy::cast_precision_loss, reason = "a bound")]
        let energy = (totals.energy.forward + totals.energy.reverse) as f64;
        assert!(energy <= max, "{totals:?}");
        if let Some(reading) = &meter.last {
            let measured = reading.measured;
            assert!((0.0..=volts).contains(&measured.voltage.0), "{measured:?}");
            assert!(measured.current.0.abs() <= 40.96, "{measured:?}");
            assert!(measured.power.0.abs() <= volts * 40.96, "{measured:?}");
        }
        let letters = |counts: &[u64]| {
            counts.iter().map(|count| if *count > 0 { 'x' } else { '.' }).collect::<String>()
        };
        let counts = [&meter.failures[..], &meter.resets, &meter.overflows].map(letters).join(" ");
        let ends = if meter.up { "up" } else { "down" };
        format!("{counts} {ends} {}", letters(&[totals.results, totals.missed, meter.alerts]))
    });
}
