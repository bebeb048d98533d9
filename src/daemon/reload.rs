//! Reload of the configuration while the daemon runs.

use std::error::Error;
use std::time::Instant;

use tracing::{error, info};

use super::{count_sensors, log_problems, server_settings};
use crate::config::{self, DEFAULT_FILE, Overrides, Plan};
use crate::exposition::Server;
use crate::logging::Logging;
use crate::supervisor::Supervisor;

/// Loads the configuration again and applies it; if it is invalid, or an address or a bus cannot be
/// opened, the running configuration stays.
pub(super) fn reload(
    supervisor: &mut Supervisor,
    server: &mut Server,
    overrides: &Overrides,
    logging: &Logging,
) {
    let overrides = with_file(overrides, supervisor.plan());
    let is_changed = match config::load(&overrides, config::environment()) {
        Ok(loaded) => {
            change(supervisor, server, loaded.plan).inspect_err(|error| error!("{error}")).is_ok()
        }
        Err(problems) => {
            log_problems(&problems);
            false
        }
    };
    if is_changed {
        logging.set_level(supervisor.plan().log);
        info!("configuration reloaded: {}", count_sensors(supervisor));
    } else {
        error!("reload failed; keeping the running configuration");
    }
    server.record_reload(is_changed);
}

/// Makes the file required if there was one: without it, a reload would go back to the defaults.
pub(super) fn with_file(overrides: &Overrides, running: &Plan) -> Overrides {
    let mut overrides = overrides.clone();
    if running.has_file {
        overrides.config.get_or_insert(DEFAULT_FILE.into());
    }
    overrides
}

/// Changes to a new plan. If an address or a bus cannot be opened, nothing changes.
fn change(
    supervisor: &mut Supervisor,
    server: &mut Server,
    plan: Plan,
) -> Result<(), Box<dyn Error>> {
    let listener = server.prepare(server_settings(&plan))?;
    let changed = supervisor.change(plan);
    // Both may have taken seconds.
    server.tick(Instant::now());
    changed?;
    server.apply(listener, supervisor.views());
    Ok(())
}
