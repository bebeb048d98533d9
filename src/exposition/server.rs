//! Keeps the exposition served: rebuilds listener and recorder when needed, from the meters, which
//! hold every gauge and counter. Histograms restart from 0 then.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strum::EnumMessage;
use tracing::{info, warn};

use super::health::HealthCheck;
use super::listener::{BindError, Listener, Serving, check_address, is_absent};
use super::metrics::RestartCause;
use super::series::Series;
use super::{Exposition, View, recorder};
use crate::clock::{LogRateLimit, SystemClock};
use crate::config::{Listen, ServerSettings};

/// Sets the series of all sensors, and serves them.
pub struct Server {
    settings: ServerSettings,
    exposition: Exposition,
    /// `None`: the address cannot be bound; this is retried.
    serving: Option<Serving>,
    /// When the listener was last restarted.
    restarted: Option<Instant>,
    /// When the last drop was seen, and when the last one was counted.
    dropped: Option<Instant>,
    counted: Option<Instant>,
    /// The outcome of a failure that was logged last, until the listener responds.
    logged: Option<String>,
    log_limit: LogRateLimit,
}

/// A listener for new settings, which replaces the running one in [`Server::apply`].
pub struct Prepared {
    settings: ServerSettings,
    listener: Option<Listener>,
}

impl Server {
    /// Minimum time between two restarts.
    const RESTART_PERIOD: Duration = Duration::from_secs(30);

    /// Binds the listener; if the address is not there yet, it is tried again later.
    ///
    /// # Errors
    /// [`BindError`] if it cannot be bound for any other reason.
    pub fn bind(settings: ServerSettings) -> Result<Prepared, BindError> {
        let listener = match Listener::bind(&settings) {
            Ok(listener) => Some(listener),
            Err(error) if is_absent(&error.source) => None,
            Err(error) => return Err(error),
        };
        Ok(Prepared { settings, listener })
    }

    /// Serves these sensors.
    ///
    /// # Errors
    /// The kernel's error if a thread cannot be created.
    pub fn start(prepared: Prepared, views: Vec<View>) -> io::Result<Self> {
        let Prepared { settings, listener } = prepared;
        let recorder = recorder(&settings.buckets);
        let mut exposition = Exposition::new(recorder, Arc::new(SystemClock));
        exposition.show(views);
        let mut server = Self {
            settings,
            exposition,
            serving: None,
            restarted: None,
            dropped: None,
            counted: None,
            logged: None,
            log_limit: LogRateLimit::default(),
        };
        match listener {
            Some(listener) => server.serve(listener).map_err(|error| error.source)?,
            // Logs why.
            None => server.check(Instant::now()),
        }
        Ok(server)
    }

    fn serve(&mut self, listener: Listener) -> Result<(), BindError> {
        let metrics = listener.recorder.handle();
        self.exposition.replace(listener.recorder);
        self.exposition.tick(Instant::now());
        // Drop the old one first.
        self.serving = None;
        let Listener { runtime, exporter, socket, .. } = listener;
        let serving = Serving::start(runtime, exporter, socket, metrics);
        let error = |source| BindError { listen: self.settings.listen.clone(), source };
        self.serving = Some(serving.map_err(error)?);
        Ok(())
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.serving.is_some()
    }

    pub(crate) fn record_reload(&mut self, is_successful: bool) {
        self.exposition.record_reload(is_successful);
    }

    /// Sets every series, and restarts the listener if it does not work, at most once in 30 s; to
    /// be called once a second, and when a sensor goes up or down.
    pub fn tick(&mut self, now: Instant) {
        self.check(now);
        self.exposition.tick(now);
    }

    fn check(&mut self, now: Instant) {
        let Some(serving) = &mut self.serving else {
            if let Err(error) = self.open() {
                self.report(None, retrying(&error), now);
            }
            return;
        };
        let (silence, has_dropped) = serving.silence(&self.settings.listen, now);
        let is_due = |last: Option<Instant>| {
            last.is_none_or(|last| now.duration_since(last) >= Self::RESTART_PERIOD)
        };
        let cause = if let Some(cause) = serving.failure() {
            cause
        } else if silence >= HealthCheck::MAX_SILENCE {
            match self.settings.listen {
                Listen::Tcp(address) if check_address(address).is_err() => RestartCause::Address,
                _ if serving.health.is_unreachable() => return,
                _ => RestartCause::Unresponsive,
            }
        } else if has_dropped {
            self.dropped = Some(now);
            if is_due(self.counted) {
                self.counted = Some(now);
                self.exposition.daemon.restarts[RestartCause::Connections as usize] += 1;
                let outcome = "dropping all open connections in favour of waiting clients";
                self.report(Some(RestartCause::Connections), outcome.to_owned(), now);
            }
            return;
        } else {
            if self.logged.is_some() && silence.is_zero() && is_due(self.dropped) {
                self.logged = None;
                info!("the HTTP listener at {} is responding", self.settings.listen);
            }
            return;
        };
        if is_due(self.restarted) {
            self.restarted = Some(now);
            self.exposition.daemon.restarts[cause as usize] += 1;
            let outcome =
                self.open().map_or_else(|error| retrying(&error), |()| "restarted".into());
            self.report(Some(cause), outcome, now);
        }
    }

    /// Logs a failure, unless its outcome is the one that was logged last.
    fn report(&mut self, cause: Option<RestartCause>, outcome: String, now: Instant) {
        if self.logged.as_ref() == Some(&outcome) || !self.log_limit.allow(now) {
            return;
        }
        if let Some(problem) = cause.and_then(|cause| cause.get_message()) {
            warn!("the HTTP listener at {} {problem}; {outcome}", self.settings.listen);
        } else {
            warn!("{outcome}");
        }
        self.logged = Some(outcome);
    }

    /// Binds the listener of new settings, while the running one serves.
    ///
    /// # Errors
    /// [`BindError`]; nothing has changed.
    pub fn prepare(&mut self, settings: ServerSettings) -> Result<Prepared, BindError> {
        let mut listener = None;
        if settings.listen != self.settings.listen {
            listener = Some(match Listener::bind(&settings) {
                Err(error) if !is_absent(&error.source) && self.may_hold(&settings.listen) => {
                    self.serving = None;
                    Listener::bind(&settings).inspect_err(|_| drop(self.open()))?
                }
                outcome => outcome?,
            });
        }
        Ok(Prepared { settings, listener })
    }

    /// Returns whether the running listener may prevent binding another address.
    fn may_hold(&self, listen: &Listen) -> bool {
        let Some(serving) = &self.serving else { return false };
        match (&self.settings.listen, listen) {
            (Listen::Tcp(own), Listen::Tcp(other)) => own.port() == other.port(),
            (_, Listen::Unix(path)) => serving.has_socket(path),
            (Listen::Unix(_), Listen::Tcp(_)) => false,
        }
    }

    /// Shows new sensors; with a new listener and recorder, if settings changed or series are gone.
    pub fn apply(&mut self, prepared: Prepared, views: Vec<View>) {
        let Prepared { settings, listener } = prepared;
        let is_included = |it: &Series| views.iter().any(|view| view.includes(&it.view));
        let is_kept = settings == self.settings && self.exposition.sensors.iter().all(is_included);
        self.settings = settings;
        self.exposition.show(views);
        if is_kept {
            return self.exposition.tick(Instant::now());
        }
        let outcome = match listener {
            Some(listener) => self.serve(listener),
            None => self.open(),
        };
        if let Err(error) = outcome {
            self.exposition.replace(recorder(&self.settings.buckets));
            self.report(None, retrying(&error), Instant::now());
        }
    }

    /// Closes the listener and opens it again.
    fn open(&mut self) -> Result<(), BindError> {
        self.serving = None;
        self.serve(Listener::bind(&self.settings)?)
    }
}

fn retrying(error: &BindError) -> String {
    format!("{error}; retrying while measuring continues")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::future::poll_fn;
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::unix::fs::symlink;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::mpsc;
    use std::task::Poll;
    use std::thread;

    use super::*;
    use crate::logging::tests::CapturedLog;
    use crate::meter::SharedMeter;
    use crate::scrape::Url;

    const RESULTS: &str = "ina260_results_total{device=\"a\"} 41\n";
    const UNRESPONSIVE: &str = "ina260_exporter_listener_restarts_total{cause=\"unresponsive\"}";

    /// Ways in which a listener can stop responding.
    #[derive(Clone, Copy, Debug)]
    enum Hang {
        /// It accepts no connections.
        Accepting,
        /// The thread of its connections is blocked.
        Connections,
    }

    fn scrape(server: &Server) -> String {
        Url::from(&server.settings.listen).get(Duration::from_secs(60)).unwrap();
        server.exposition.render()
    }

    /// Repeats the health check, without any time passing, until the listener has responded.
    fn wait_for_response(server: &mut Server, now: Instant) {
        let listen = server.settings.listen.clone();
        let health = &mut server.serving.as_mut().unwrap().health;
        while !health.silence(&listen, false, now).is_zero() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn assert_rebuilt(listen: Listen, hang: Hang) {
        let settings = ServerSettings {
            listen,
            // The umask that this sets is shared by all threads: their directories stay usable.
            socket_mode: 0o700,
            allow: Vec::new(),
            buckets: vec![1.0],
        };
        let meter = SharedMeter::default();
        meter.lock().restore_counters(&[("results".to_owned(), 41)].into());
        let view = View {
            labels: vec![("device".to_owned(), "a".to_owned())],
            info: Vec::new(),
            script: false,
            alert: None,
            meter,
        };
        let mut prepared = Server::bind(settings).unwrap();
        let listener = prepared.listener.as_mut().unwrap();
        let is_hanging = Arc::<AtomicBool>::default();
        let (stuck, is_stuck) = mpsc::channel();
        let (release, blocked) = mpsc::channel::<()>();
        let (flag, blocked) = (is_hanging.clone(), Arc::new(Mutex::new(blocked)));
        let mut exporter = std::mem::replace(&mut listener.exporter, Box::pin(async { Ok(()) }));
        listener.exporter = Box::pin(poll_fn(move |cx| {
            if flag.load(Relaxed) {
                match hang {
                    Hang::Accepting => {
                        let _ = stuck.send(());
                        return Poll::Pending;
                    }
                    Hang::Connections => {
                        let (stuck, blocked) = (stuck.clone(), blocked.clone());
                        tokio::spawn(async move {
                            let _ = stuck.send(());
                            blocked.lock().unwrap().recv()
                        });
                    }
                }
            }
            exporter.as_mut().poll(cx)
        }));
        let mut server = Server::start(prepared, vec![view]).unwrap();
        let mut now = Instant::now();
        server.tick(now);
        wait_for_response(&mut server, now);
        let before = scrape(&server);
        assert!(before.contains(RESULTS) && before.contains(&format!("{UNRESPONSIVE} 0\n")));

        is_hanging.store(true, Relaxed);
        // The poll that accepted the last client may accept others, too.
        while is_stuck.try_recv().is_err() {
            let _ = Url::from(&server.settings.listen).get(Duration::from_millis(200));
        }
        let begun = now;
        while server.restarted.is_none() {
            now += Duration::from_secs(1);
            assert!(now - begun <= Duration::from_secs(15), "{hang:?}: still not rebuilt");
            server.tick(now);
        }
        let after = scrape(&server);
        assert!(after.contains(RESULTS), "{after}");
        assert!(after.contains(&format!("{UNRESPONSIVE} 1\n")), "{after}");
        drop(release);
    }

    #[test]
    fn hanging_listener_is_rebuilt_within_15_seconds() {
        let directory = tempfile::tempdir().unwrap();
        for (n, hang) in [Hang::Accepting, Hang::Connections].into_iter().enumerate() {
            assert_rebuilt(Listen::Unix(directory.path().join(n.to_string())), hang);
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
            assert_rebuilt(Listen::Tcp(free), hang);
        }
    }

    #[test]
    fn unreachable_listener_is_not_rebuilt() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let settings = ServerSettings {
            // Can be listened on, but not connected to: like any address without a loopback
            // interface.
            listen: Listen::Tcp((Ipv4Addr::BROADCAST, free.port()).into()),
            socket_mode: 0,
            allow: Vec::new(),
            buckets: vec![1.0],
        };
        let mut server = Server::start(Server::bind(settings).unwrap(), Vec::new()).unwrap();
        let now = Instant::now();
        (0..60).for_each(|second| server.tick(now + Duration::from_secs(second)));
        assert!(server.is_serving() && server.restarted.is_none());
    }

    /// Without the address at first; then with its port in use.
    #[test]
    fn each_reason_is_logged_once() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let settings = ServerSettings {
            // No machine has an address of TEST-NET-1 (RFC 5737).
            listen: Listen::Tcp((Ipv4Addr::new(192, 0, 2, 1), 8000).into()),
            socket_mode: 0,
            allow: Vec::new(),
            buckets: vec![1.0],
        };
        let log = CapturedLog::start();
        let mut server = Server::start(Server::bind(settings).unwrap(), Vec::new()).unwrap();
        let now = Instant::now();
        let mut tick = |listen: Option<Listen>| {
            server.settings.listen = listen.unwrap_or(server.settings.listen.clone());
            (0..3).for_each(|_| server.tick(now));
            let text = log.text();
            let count = |reason| text.lines().filter(|line| line.contains(reason)).count();
            (count("(os error 99)"), count("(os error 98)"))
        };
        assert_eq!(tick(None), (1, 0));
        assert_eq!(tick(Some(Listen::Tcp(held.local_addr().unwrap()))), (1, 1));
    }

    #[test]
    fn refused_reload_keeps_the_listener() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let settings = ServerSettings {
            listen: Listen::Tcp(free),
            socket_mode: 0,
            allow: Vec::new(),
            buckets: vec![1.0],
        };
        let mut server =
            Server::start(Server::bind(settings.clone()).unwrap(), Vec::new()).unwrap();
        let mut client = TcpStream::connect(free).unwrap();
        // No machine has an address of TEST-NET-1 (RFC 5737).
        let absent = Listen::Tcp((Ipv4Addr::new(192, 0, 2, 1), free.port()).into());
        assert!(server.prepare(ServerSettings { listen: absent, ..settings }).is_err());
        client.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
        let mut response = [0; 5];
        client.read_exact(&mut response).unwrap();
        assert_eq!(&response, b"HTTP/");
    }

    #[test]
    fn listener_moves_to_another_path_of_its_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.sock");
        let link = directory.path().join("link");
        symlink(directory.path(), &link).unwrap();
        let settings = |path| ServerSettings {
            listen: Listen::Unix(path),
            socket_mode: 0o700,
            allow: Vec::new(),
            buckets: vec![1.0],
        };
        let by_link = Server::bind(settings(link.join("metrics.sock"))).unwrap();
        let mut server = Server::start(by_link, Vec::new()).unwrap();
        let prepared = server.prepare(settings(path.clone())).unwrap();
        server.apply(prepared, Vec::new());
        assert_eq!(server.settings.listen, Listen::Unix(path.clone()));
        scrape(&server);
        // Nothing else is replaced.
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(server.prepare(settings(link.join("file"))).is_err());
        scrape(&server);
        drop(server);
        assert!(!path.exists());
    }

    #[test]
    fn responding_listener_is_not_rebuilt() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let settings = ServerSettings {
            listen: Listen::Tcp(free),
            socket_mode: 0,
            // Status 403 is a response as well.
            allow: vec!["192.0.2.0/24".parse().unwrap()],
            buckets: vec![1.0],
        };
        let mut server = Server::start(Server::bind(settings).unwrap(), Vec::new()).unwrap();
        let mut now = Instant::now();
        for _ in 0..10 {
            now += Duration::from_secs(1);
            server.tick(now);
            wait_for_response(&mut server, now);
            // Time that this process did not run is not silence.
            now += Duration::from_secs(3_600);
            server.tick(now);
            assert_eq!(server.restarted, None);
            wait_for_response(&mut server, now);
            now += HealthCheck::MAX_SILENCE;
        }
    }
}
