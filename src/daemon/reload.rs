//! Reload of the configuration while the daemon runs.

use tracing::{error, info, warn};

use super::{count_sensors, log_problems};
use crate::config::{self, DEFAULT_FILE, Overrides, Plan};
use crate::exposition::Ticker;
use crate::logging::Logging;
use crate::supervisor::{ChangeError, Supervisor};

/// Loads the configuration again and runs it; if it is invalid or a bus cannot be opened, the
/// running configuration stays.
pub(super) fn reload(
    supervisor: &mut Supervisor,
    overrides: &Overrides,
    logging: &Logging,
    ticker: &Ticker,
) {
    let overrides = with_file(overrides, supervisor.plan());
    let is_changed = match config::load(&overrides, config::environment()) {
        Ok(loaded) => {
            change(supervisor, loaded.plan).inspect_err(|error| error!("{error}")).is_ok()
        }
        Err(problems) => {
            log_problems(&problems);
            false
        }
    };
    if is_changed {
        logging.set_level(supervisor.plan().log);
        ticker.show(supervisor.views());
        info!("configuration reloaded: {}", count_sensors(supervisor));
    } else {
        error!("reload failed; keeping the running configuration");
    }
    ticker.record_reload(is_changed);
}

/// Makes the file required if there was one: without it, a reload would go back to the defaults.
pub(super) fn with_file(overrides: &Overrides, running: &Plan) -> Overrides {
    let mut overrides = overrides.clone();
    if running.has_file {
        overrides.config.get_or_insert(DEFAULT_FILE.into());
    }
    overrides
}

/// Changes to a new plan, except for the keys that need a restart.
fn change(supervisor: &mut Supervisor, mut plan: Plan) -> Result<(), ChangeError> {
    let fixed = plan.keep_fixed(supervisor.plan());
    supervisor.change(plan)?;
    if !fixed.is_empty() {
        warn!("changes to {} take effect at the next restart", fixed.join(", "));
    }
    Ok(())
}
