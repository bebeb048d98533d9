//! Keeps the exposition served: rebuilds listener and recorder when needed, from the meters, which
//! hold every gauge and counter. Histograms restart from 0 then.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusRecorder;
use tracing::{info, warn};

use super::health::HealthCheck;
use super::listener::{BindError, Listener, ServerSettings, check_address, recorder};
use super::metrics::RestartCause;
use super::serving::Serving;
use super::{Exposition, Ticker, View};
use crate::clock::SystemClock;
use crate::config::Listen;
use crate::scrape::Url;

/// Serves what the ticker sets.
pub struct Server {
    settings: ServerSettings,
    views: Vec<View>,
    ticker: Ticker,
    /// `None`: the machine does not have the address; binding is retried.
    serving: Option<Serving>,
    health: HealthCheck,
    restarted: Option<Instant>,
    /// Number of drops of all connections that were seen.
    drops: u64,
    /// When the last drop was seen, and when the last one was counted.
    dropped: Option<Instant>,
    counted: Option<Instant>,
    /// Whether a failure of the listener has been logged.
    in_trouble: bool,
}

/// A listener for new settings, which replaces the running one in [`Server::apply`].
pub struct Prepared {
    settings: ServerSettings,
    bound: Option<(Listener, PrometheusRecorder)>,
}

impl Server {
    /// Minimum time between two restarts.
    const RESTART_PERIOD: Duration = Duration::from_secs(30);

    /// Binds the listener; if the address is not there yet, it is tried again later.
    ///
    /// # Errors
    /// [`BindError`] if the address will not be there later either.
    pub fn bind(settings: ServerSettings) -> Result<Prepared, BindError> {
        let bound = match Listener::bind(&settings) {
            Ok(bound) => Some(bound),
            Err(error) if error.is_absent() => {
                warn!("{error}; measuring continues, retrying");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Prepared { settings, bound })
    }

    /// Starts the ticker. Pass the listener, if there is one, to [`Server::serve`].
    ///
    /// # Errors
    /// The kernel's error if a thread cannot be created.
    pub fn new(prepared: Prepared, views: Vec<View>) -> io::Result<(Self, Option<Listener>)> {
        let Prepared { settings, bound } = prepared;
        let (listener, recorder) = match bound {
            Some((listener, recorder)) => (Some(listener), recorder),
            None => (None, unserved(&settings)),
        };
        let mut exposition = Exposition::new(recorder, Arc::new(SystemClock));
        exposition.show(views.clone());
        let server = Self {
            settings,
            views,
            ticker: Ticker::spawn(exposition)?,
            serving: None,
            health: HealthCheck::start()?,
            restarted: None,
            drops: 0,
            dropped: None,
            counted: None,
            in_trouble: listener.is_none(),
        };
        Ok((server, listener))
    }

    /// Returns what is to be called when a sensor goes up or down: a tick.
    pub fn on_change(&self) -> Arc<dyn Fn() + Send + Sync> {
        let ticker = self.ticker.clone();
        Arc::new(move || ticker.tick())
    }

    /// Serves scrapes.
    ///
    /// # Errors
    /// The kernel's error if a thread cannot be created.
    pub fn serve(&mut self, listener: Option<Listener>) -> io::Result<()> {
        // Drop the old one first.
        self.serving = None;
        self.drops = 0;
        let outcome =
            listener.map(Listener::serve).transpose().map(|serving| self.serving = serving);
        self.health.watch(self.serving.as_ref().map(|_| Url::from(&self.settings.listen)));
        outcome
    }

    /// Returns whether there is a listener.
    pub fn is_serving(&self) -> bool {
        self.serving.is_some()
    }

    /// Records the outcome of a reload.
    pub fn record_reload(&self, is_successful: bool) {
        self.ticker.record_reload(is_successful);
    }

    /// Restarts the listener if it does not work, at most once in 30 s; to be called once a second.
    pub fn check(&mut self, now: Instant) {
        let drops = self.serving.as_ref().map_or(0, Serving::drops);
        let has_dropped = std::mem::replace(&mut self.drops, drops) < drops;
        let silence = self.health.silence(now, has_dropped);
        let Some(serving) = &self.serving else {
            // It has been reported.
            let _ = self.open();
            return;
        };
        let is_due = |last: Option<Instant>| {
            last.is_none_or(|last| now.duration_since(last) >= Self::RESTART_PERIOD)
        };
        let cause = if serving.has_ended() {
            Some(RestartCause::Ended)
        } else if !serving.has_socket() {
            Some(RestartCause::Address)
        } else if silence >= HealthCheck::MAX_SILENCE {
            Some(match self.settings.listen {
                Listen::Tcp(address) if check_address(address).is_err() => RestartCause::Address,
                _ => RestartCause::Unresponsive,
            })
        } else {
            None
        };
        if let Some(cause) = cause {
            if is_due(self.restarted) {
                self.restart(cause, now);
            }
            return;
        }
        if has_dropped {
            self.dropped = Some(now);
            if is_due(self.counted) {
                self.counted = Some(now);
                self.ticker.count_restart(RestartCause::Connections);
                let outcome = "dropping all of them in favour of waiting clients";
                self.report(RestartCause::Connections, outcome);
            }
        } else if self.in_trouble && silence.is_zero() && is_due(self.dropped) {
            self.in_trouble = false;
            info!("the HTTP listener at {} is responding", self.settings.listen);
        }
    }

    fn restart(&mut self, cause: RestartCause, now: Instant) {
        self.restarted = Some(now);
        self.ticker.count_restart(cause);
        match self.open() {
            Ok(()) => self.report(cause, "restarted"),
            Err(error) => self.report(cause, &format!("{error}; measuring continues, retrying")),
        }
    }

    fn report(&mut self, cause: RestartCause, outcome: &str) {
        if !std::mem::replace(&mut self.in_trouble, true) {
            warn!("the HTTP listener at {} {}; {outcome}", self.settings.listen, cause.describe());
        }
    }

    /// Binds the listener of new settings, while the running one serves.
    ///
    /// # Errors
    /// [`BindError`]; nothing has changed.
    pub fn prepare(&mut self, settings: ServerSettings) -> Result<Prepared, BindError> {
        let mut bound = None;
        if settings.listen != self.settings.listen {
            bound = Some(match Listener::bind(&settings) {
                Err(_) if self.holds_port_of(&settings.listen) => {
                    self.serving = None;
                    Listener::bind(&settings).inspect_err(|_| drop(self.open()))?
                }
                outcome => outcome?,
            });
        }
        Ok(Prepared { settings, bound })
    }

    /// Returns whether the running listener may prevent binding another address.
    fn holds_port_of(&self, listen: &Listen) -> bool {
        match (&self.settings.listen, listen) {
            (Listen::Tcp(own), Listen::Tcp(other)) => {
                self.is_serving() && own.port() == other.port()
            }
            _ => false,
        }
    }

    /// Shows the sensors of a new configuration. Where settings changed or series are gone, with a
    /// new listener and recorder.
    pub fn apply(&mut self, prepared: Prepared, views: Vec<View>) {
        let Prepared { settings, bound } = prepared;
        let is_gone = |view: &View| !views.iter().any(|other| other.includes(view));
        let needs_restart = settings != self.settings || self.views.iter().any(is_gone);
        self.settings = settings;
        self.views = views;
        if !needs_restart {
            self.ticker.show(self.views.clone(), None);
            return;
        }
        let outcome = match bound {
            Some(bound) => self.replace(bound),
            None => self.open(),
        };
        if let Err(error) = outcome {
            self.ticker.show(self.views.clone(), Some(unserved(&self.settings)));
            self.report(RestartCause::Address, &format!("{error}; measuring continues, retrying"));
        }
    }

    /// Closes the listener and opens it again.
    fn open(&mut self) -> Result<(), BindError> {
        self.serving = None;
        Listener::bind(&self.settings).and_then(|bound| self.replace(bound))
    }

    fn replace(
        &mut self,
        (listener, recorder): (Listener, PrometheusRecorder),
    ) -> Result<(), BindError> {
        self.ticker.show(self.views.clone(), Some(recorder));
        self.serve(Some(listener)).map_err(|error| self.settings.error(error))
    }
}

fn unserved(settings: &ServerSettings) -> PrometheusRecorder {
    recorder(&settings.power_buckets).expect("the configuration has at least one bound")
}
