//! `read`: one result of each sensor, or one after the other. No setting of a chip is ever written.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;

use super::args::{ConfigArgs, LocationArgs};
use super::mux_guard::MuxGuard;
use super::running_exporter::RunningExporter;
use super::{Caller, Failure};
use crate::config::{self, Overrides, Plan, SensorPlan};
use crate::i2c::Location;
use crate::i2c::adapters::adapters;
use crate::i2c::{Address, Bus, mux, retry_once};
use crate::ina260;
use crate::supervisor::BusProvider;

mod csv;
mod json;
mod seen;
mod table;
#[cfg(test)]
mod tests;

use seen::Seen;

// No doc comment on the struct: clap would print it as the program's.
#[expect(missing_docs, reason = "see above")]
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  ina260-exporter read                      the configured sensors
  ina260-exporter read --address 0x41       the sensor at bus 1, address 0x41
  ina260-exporter read --follow --interval 100ms > inrush.csv
  ina260-exporter read --json | jq '.sensors[].power_watts'
  ina260-exporter read --simulate           print an example without hardware")]
pub struct ReadArgs {
    #[command(flatten)]
    pub location: LocationArgs,

    /// Print JSON
    #[arg(long, conflicts_with = "follow")]
    pub json: bool,

    /// Print CSV continuously until interrupted
    #[arg(long)]
    pub follow: bool,

    /// With --follow, time between two lines of one sensor [default: the configured interval]
    #[arg(long, value_name = "DURATION", requires = "follow")]
    pub interval: Option<String>,

    #[command(flatten)]
    pub config: ConfigArgs,
}

type Stop<'a> = &'a mut dyn FnMut(Duration) -> bool;
type Pause<'a> = &'a mut dyn FnMut(Duration);

/// One visit to a sensor: what it showed, or a sentence why it showed nothing.
struct Visit<'a> {
    sensor: &'a SensorPlan,
    outcome: Result<Seen, String>,
}

/// Reads the configured sensors, or the one whose place was named, and writes what they show.
///
/// # Errors
/// [`Failure::Nothing`] where no sensor showed anything, [`Failure::Partly`] where some did not.
pub fn run(flags: &ReadArgs, caller: Caller<'_>) -> Result<(), Failure> {
    let Caller { output, stop, .. } = caller;
    let stop: Stop = &mut for_good(stop);
    let plan = plan(flags)?;
    let mut buses = Buses::new(
        &plan,
        BusProvider::new(plan.simulate.as_ref()),
        flags.location.mux.is_some(),
    );
    if flags.follow {
        return follow(&plan, &mut buses, output, stop);
    }
    let visits: Vec<Visit> = plan
        .sensors
        .iter()
        .map(|sensor| buses.visit(sensor, stop))
        .collect();
    if flags.json {
        json::write(&visits, output)?;
    } else {
        table::write(&visits, output)?;
    }
    let failures: Vec<String> = visits.iter().filter_map(failure).collect();
    match failures.len() {
        0 => Ok(()),
        all if all == visits.len() => Err(Failure::Nothing(failures)),
        _ => Err(Failure::Partly(failures)),
    }
}

/// Who asks once to end, be it while a chip is waited for, has asked for good.
fn for_good(stop: Stop) -> impl FnMut(Duration) -> bool {
    let mut asked = false;
    move |time| {
        asked = asked || stop(time);
        asked
    }
}

fn failure(visit: &Visit) -> Option<String> {
    let why = visit.outcome.as_ref().err()?;
    let (device, place) = (&visit.sensor.device, visit.sensor.location);
    Some(format!("sensor {device} ({place}): {why}"))
}

/// A line for each sensor whenever its interval is over, until somebody asks to end. Lateness never bursts.
fn follow(
    plan: &Plan,
    buses: &mut Buses,
    output: &mut dyn Write,
    stop: Stop,
) -> Result<(), Failure> {
    csv::head(output)?;
    let begun = Instant::now();
    let mut due: Vec<(Instant, &SensorPlan)> =
        plan.sensors.iter().map(|sensor| (begun, sensor)).collect();
    while let Some((at, sensor)) = due.iter_mut().min_by_key(|(at, _)| *at) {
        if stop(at.saturating_duration_since(Instant::now())) {
            break;
        }
        csv::line(&buses.visit(sensor, stop), output)?;
        *at = (*at + sensor.interval).max(Instant::now());
    }
    Ok(())
}

/// The sensors to read: those of the configuration, or the one at the place that was named, which the configuration may know.
fn plan(flags: &ReadArgs) -> Result<Plan, Failure> {
    let loaded = config::load(&flags.config.overrides(), config::environment())?;
    let mut plan = loaded.plan;
    if flags.location.is_named() {
        let named = flags.location.add_to(Overrides::default());
        let named = config::load_alone(&named)?.plan.sensors.remove(0);
        let place = named.location;
        let known = plan.sensors.iter().find(|known| known.location == place);
        let sensor = known.cloned().unwrap_or(SensorPlan {
            device: place.device_name(),
            ..named
        });
        plan.sensors = vec![sensor];
    }
    if flags.interval.is_some() {
        let alone = Overrides::default().with("interval", flags.interval.as_deref());
        let interval = config::load_alone(&alone)?.plan.sensors.remove(0).interval;
        for sensor in &mut plan.sensors {
            sensor.interval = interval;
        }
    }
    Ok(plan)
}

/// The buses of the sensors, opened once.
struct Buses {
    source: BusProvider,
    locations: Vec<Location>,
    opened: BTreeMap<u8, Box<dyn Bus>>,
    /// A multiplexer was named on the command line.
    is_mux_asked_for: bool,
}

impl Buses {
    fn new(plan: &Plan, source: BusProvider, is_mux_asked_for: bool) -> Self {
        let locations = plan.sensors.iter().map(|sensor| sensor.location).collect();
        Self {
            source,
            locations,
            opened: BTreeMap::new(),
            is_mux_asked_for,
        }
    }

    fn visit<'a>(&mut self, sensor: &'a SensorPlan, stop: Stop) -> Visit<'a> {
        let mut pause = |time| _ = stop(time);
        let outcome = self.look(sensor, &mut pause);
        Visit { sensor, outcome }
    }

    fn look(&mut self, sensor: &SensorPlan, pause: Pause) -> Result<Seen, String> {
        let service = if self.source.is_simulated() {
            None
        } else {
            RunningExporter::of(sensor.location.bus)
        };
        if let (Some(service), true) = (&service, self.is_mux_asked_for) {
            return Err(service.refusal(sensor.location.bus));
        }
        if let (Some(service), Some(_)) = (&service, sensor.location.mux) {
            return behind_the_service(service, sensor);
        }
        let multiplexers = self.multiplexers(sensor.location.bus);
        let bus = self.open(sensor.location.bus)?;
        match service {
            Some(service) => beside(&service, bus, sensor),
            None => alone(bus, sensor, &multiplexers, pause),
        }
    }

    /// All that are known on a bus: an open channel of another one would answer, too.
    fn multiplexers(&self, bus: u8) -> Vec<Address> {
        let on_bus = self.locations.iter().filter(|location| location.bus == bus);
        let mut all: Vec<Address> = on_bus
            .filter_map(|location| location.mux.map(|channel| channel.multiplexer))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn open(&mut self, number: u8) -> Result<&mut dyn Bus, String> {
        if !self.opened.contains_key(&number) {
            let bus = self
                .source
                .open(number, self.locations.iter().copied())
                .map_err(|error| super::advice(&error, &adapters()))?;
            self.opened.insert(number, bus);
        }
        match self.opened.get_mut(&number) {
            Some(bus) => Ok(bus.as_mut()),
            None => Err(format!("/dev/i2c-{number} is not open")),
        }
    }
}

/// A sensor that nobody else uses.
fn alone(
    bus: &mut dyn Bus,
    sensor: &SensorPlan,
    multiplexers: &[Address],
    pause: Pause,
) -> Result<Seen, String> {
    let mut look = |bus: &mut dyn Bus| {
        twice(|| seen::of_a_chip(bus, sensor.location.address, &sensor.calibration, pause))
    };
    let Some(channel) = sensor.location.mux else {
        return look(bus);
    };
    let mut switch =
        MuxGuard::of(bus, multiplexers).map_err(|failure| advice_on_a_mux(&failure))?;
    let seen = switch.behind(bus, channel, look);
    switch.restore(bus);
    seen.map_err(|failure| advice_on_a_mux(&failure))?
}

/// A sensor on a bus that the service uses.
fn beside(
    service: &RunningExporter,
    bus: &mut dyn Bus,
    sensor: &SensorPlan,
) -> Result<Seen, String> {
    let state = match service
        .sensor(sensor.location)
        .map(|served| served.and_then(seen::state_of))
    {
        Ok(Some(state)) => Ok(state),
        Ok(None) => Err(format!(
            "the bus is in use by {}, which does not measure this sensor: settings and alert are not read",
            service.name()
        )),
        Err(why) => Err(format!(
            "the bus is in use, so that settings and alert are not read, and {why}"
        )),
    };
    twice(|| {
        seen::beside_the_service(
            bus,
            sensor.location.address,
            &sensor.calibration,
            state.clone(),
        )
    })
}

/// A sensor behind a multiplexer that the service switches.
fn behind_the_service(service: &RunningExporter, sensor: &SensorPlan) -> Result<Seen, String> {
    let user = service.name();
    match service.sensor(sensor.location) {
        Ok(Some(served)) => seen::of_the_service(served)
            .ok_or_else(|| format!("does not answer {user}; its log says why")),
        Ok(None) => Err(format!(
            "bus {} is in use by {user}, which does not measure this sensor; only the service can switch its multiplexer",
            sensor.location.bus
        )),
        Err(why) => Err(format!(
            "only the service can switch its multiplexer, and {why}"
        )),
    }
}

/// Reads a sensor, and once more if a transfer fails.
fn twice(look: impl FnMut() -> Result<Seen, ina260::Error>) -> Result<Seen, String> {
    retry_once(look, |error| error.is_timeout() || error.is_acknowledged())
        .map_err(|error| advice(&error))
}

/// What failed of a multiplexer, and what to do next.
fn advice_on_a_mux(failure: &mux::Error) -> String {
    let next = match failure {
        // It has the buses to use instead.
        mux::Error::Bound(..) => "",
        failure if failure.is_timeout() => STUCK,
        mux::Error::Unreachable(..) => {
            "; check its wiring, its supply and its address, `ina260-exporter scan --mux` lists who is behind which"
        }
        mux::Error::ControlMismatch { .. } => "; another program switches it, end that first",
    };
    format!("{failure}{next}")
}

const STUCK: &str =
    "; the bus is stuck: take chips off it one by one, an unpowered one holds it, too";

/// What failed, and what to do next.
fn advice(error: &ina260::Error) -> String {
    let next = match error {
        // It has the command.
        ina260::Error::Bound(_) => "",
        ina260::Error::NotAnIna260 { .. } => "; `ina260-exporter scan` lists who is where",
        error if error.is_timeout() => STUCK,
        _ => "; check its wiring and its supply, `ina260-exporter scan` lists who answers",
    };
    format!("{error}{next}")
}
