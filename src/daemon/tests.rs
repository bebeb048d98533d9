use std::fs;
use std::sync::mpsc;

use super::*;
use crate::cli::CommandLine;
use crate::config::Listen;
use clap::Parser;

#[test]
fn main_loop_removes_stale_counters() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("totals");
    let store = Store::new(directory.path(), "0123456789abcdef");
    store.save(Vec::new()).unwrap();
    let saved = fs::read(&file).unwrap();
    // A directory is set aside, unless there is another one that is not empty.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    fs::create_dir_all(directory.path().join("totals.refused/x")).unwrap();

    let line = CommandLine::try_parse_from(["", "--simulate"]).unwrap();
    let plan = config::load_alone(&line.daemon.overrides()).unwrap().plan;
    let mut supervisor = open_buses(plan).unwrap();
    assert!(restore_counters(&supervisor, Some(&store)), "it is stale");
    let mut settings = server_settings(supervisor.plan());
    settings.listen = Listen::Unix(directory.path().join("metrics.sock"));
    let prepared = Server::bind(settings).unwrap();
    let mut server = Server::start(prepared, supervisor.views()).unwrap();
    let mut main_loop = MainLoop {
        supervisor: &mut supervisor,
        server: &mut server,
        notifier: &mut Notifier::from_environment(true).unwrap(),
        stale: Some(&store),
        reload: &|_, _| panic!("not asked for"),
    };
    // Without a sender, each run is one pass.
    let (_, events) = mpsc::channel();
    main_loop.run(&events);
    assert!(main_loop.stale.is_some(), "it is retried later");

    fs::remove_dir(&file).unwrap();
    fs::write(&file, saved).unwrap();
    main_loop.run(&events);
    assert!(main_loop.stale.is_none() && !file.exists());
}

#[test]
fn reload_needs_the_file_read_at_the_start() {
    let mut plan = config::load_alone(&Overrides::default()).unwrap().plan;
    let config = |overrides: &Overrides, plan: &Plan| reload::with_file(overrides, plan).config;
    assert_eq!(config(&Overrides::default(), &plan), None);
    plan.has_file = true;
    assert_eq!(config(&Overrides::default(), &plan), Some(config::DEFAULT_FILE.into()));
    let named = Overrides { config: Some("/a.toml".into()), ..Overrides::default() };
    assert_eq!(config(&named, &plan), named.config);
}
