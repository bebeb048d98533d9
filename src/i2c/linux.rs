//! A Linux I2C adapter, `/dev/i2c-N`, through the SMBus calls of rppal.
//!
//! SMBus word calls work on plain I2C and on SMBus-only adapters. They do not release the bus
//! between register number and data (repeated start), which a write followed by a read does.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rppal::i2c::{Error as RppalError, I2c};
use rustix::io::Errno;
use tracing::error;

use super::adapters::{Adapter, Adapters, DEVICES, link_name};
use super::{Address, BoundDriver, Bus, BusName, Error, ErrorKind, OpenError};
use crate::clock::LogRateLimit;
use crate::printable::escape;

/// Lock file of a claimed adapter, unless it cannot be created or another process has locked it.
pub(crate) type LockFile = Mutex<Option<File>>;

/// Claims an adapter, by the kernel's number, for a bus that has opened it, until the returned
/// value is dropped. The bus's last claim is dropped, unless it is for the same adapter. Fails if
/// another bus has claimed the adapter or has chips on the same wires.
pub(crate) type Claim = Arc<
    dyn Fn(BusName, u32, &Adapters, Option<Arc<LockFile>>) -> Result<Arc<LockFile>, OpenError>
        + Send
        + Sync,
>;

/// A Linux I2C adapter. Closed when it fails, so that the kernel can remove one that was unplugged;
/// looked up, opened and claimed again at the next transfer. Stays locked until it is gone.
pub(crate) struct LinuxBus {
    bus: BusName,
    claim: Option<Claim>,
    node: Option<Node>,
    /// The last claim. It is dropped after the adapter was closed.
    claimed: Option<Arc<LockFile>>,
    /// The reason why it could not be opened, if that was logged since it was last open.
    logged: Option<String>,
    log_limit: LogRateLimit,
}

struct Node {
    i2c: I2c,
    adapter: Adapter,
    /// Address set in the kernel: saves an ioctl per transfer to the same chip.
    address: Option<Address>,
}

impl LinuxBus {
    /// Returns a bus that is opened at its first transfer.
    pub(crate) fn closed(bus: BusName, claim: Option<Claim>) -> Self {
        let (logged, log_limit) = (None, LogRateLimit::default());
        Self { bus, claim, claimed: None, node: None, logged, log_limit }
    }

    pub(crate) fn open(mut self) -> Result<Self, OpenError> {
        self.node = Some(self.open_node()?);
        Ok(self)
    }

    fn open_node(&mut self) -> Result<Node, OpenError> {
        let adapters = Adapters::read();
        let adapter = adapters.resolve(self.bus).inspect_err(|_| self.claimed = None)?.clone();
        let i2c = open_i2c(adapter.number)?;
        if let Some(claim) = &self.claim {
            let last = self.claimed.take();
            self.claimed = Some(claim(self.bus, adapter.kernel_number, &adapters, last)?);
        }
        Ok(Node { i2c, adapter, address: None })
    }

    fn transfer<T>(
        &mut self,
        address: Address,
        call: impl FnOnce(&I2c) -> Result<T, RppalError>,
    ) -> Result<T, Error> {
        let mut node = match self.node.take() {
            Some(node) => node,
            None => self.open_node().map_err(|error| self.log(&error))?,
        };
        self.logged = None;
        let transfer = || {
            if node.address != Some(address) {
                node.i2c.set_slave_address(u16::from(address.0))?;
                node.address = Some(address);
            }
            call(&node.i2c)
        };
        let result = transfer()
            .map_err(|error| Error::from_adapter(errno(&io_error(error)), &node.adapter.name));
        if !result.as_ref().is_err_and(is_of_the_adapter) {
            self.node = Some(node);
        }
        result
    }

    fn log(&mut self, error: &OpenError) -> Error {
        let reason = error.to_string();
        if self.logged.as_ref() != Some(&reason) && self.log_limit.allow(Instant::now()) {
            error!("{reason}; its sensors are down until the bus can be opened");
            self.logged = Some(reason);
        }
        let errno = match error {
            OpenError::Io { source, .. } => errno(source),
            OpenError::Denied { .. } => Errno::ACCESS.raw_os_error(),
            _ => Errno::NODEV.raw_os_error(),
        };
        Error { kind: ErrorKind::Closed, errno }
    }
}

/// Returns whether an error may be that of an adapter which is gone, rather than of a chip or of
/// another master. Adapters on USB report that as EIO or ENODEV, among others.
fn is_of_the_adapter(error: &Error) -> bool {
    error.errno == Errno::NODEV.raw_os_error()
        || !matches!(error.kind, ErrorKind::Nack | ErrorKind::Arbitration)
}

impl Bus for LinuxBus {
    /// Reads sysfs: rppal always uses `I2C_SLAVE_FORCE`, which never fails with `EBUSY`.
    fn bound_driver(&self, address: Address) -> Option<BoundDriver> {
        let adapters = Adapters::read();
        let adapter = match &self.node {
            Some(node) => node.adapter.kernel_number,
            None => adapters.resolve(self.bus).ok()?.kernel_number,
        };
        let chip = format!("{adapter}-{:04x}", address.0);
        let device = Path::new(DEVICES).join(&chip);
        let driver = escape(&link_name(&device.join("driver"))?);
        let name = fs::read(device.join("name")).unwrap_or_default();
        let name = escape(String::from_utf8_lossy(&name).trim());
        let is_child =
            |it: &&Adapter| it.upstream.as_ref().is_some_and(|upstream| upstream.mux == chip);
        Some(BoundDriver {
            device: if name.is_empty() { driver.clone() } else { name },
            unbind: format!("echo {chip} > /sys/bus/i2c/drivers/{driver}/unbind"),
            children: adapters.0.iter().filter(is_child).map(|it| it.number).collect(),
            driver,
        })
    }

    fn read_word(&mut self, address: Address, register: u8) -> Result<u16, Error> {
        self.transfer(address, |i2c| i2c.smbus_read_word_swapped(register))
    }

    fn write_word(&mut self, address: Address, register: u8, word: u16) -> Result<(), Error> {
        self.transfer(address, |i2c| i2c.smbus_write_word_swapped(register, word))
    }

    fn send_byte(&mut self, address: Address, byte: u8) -> Result<(), Error> {
        self.transfer(address, |i2c| i2c.smbus_send_byte(byte))
    }

    fn receive_byte(&mut self, address: Address) -> Result<u8, Error> {
        self.transfer(address, I2c::smbus_receive_byte)
    }
}

fn open_i2c(number: u8) -> Result<I2c, OpenError> {
    let node = format!("/dev/i2c-{number}");
    let i2c = I2c::with_bus(number).map_err(|error| {
        let (node, source) = (node.clone(), io_error(error));
        match Errno::from_io_error(&source) {
            // From the mode of the device node, or from a device policy of systemd.
            Some(Errno::ACCESS | Errno::PERM) => {
                OpenError::Denied { group: owning_group(&node), node }
            }
            Some(Errno::NOTTY | Errno::INVAL) => OpenError::NotAnAdapter(node),
            _ => OpenError::Io { node, source },
        }
    })?;
    let capabilities = i2c.capabilities();
    let is_capable = capabilities.smbus_read_word() && capabilities.smbus_write_word();
    if is_capable { Ok(i2c) } else { Err(OpenError::Incapable(node)) }
}

fn io_error(error: RppalError) -> io::Error {
    match error {
        RppalError::Io(error) => error,
        other => io::Error::other(other),
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::IO.raw_os_error())
}

/// Group ID shown for all unmapped groups in a user namespace, such as that of the service.
const OVERFLOW_GROUP: u32 = 65_534;

fn owning_group(node: &str) -> String {
    let gid = fs::metadata(node).map_or(OVERFLOW_GROUP, |node| node.gid());
    group_name(gid, &fs::read_to_string("/etc/group").unwrap_or_default())
}

/// Looks a group up in the text of group(5). Without a name, returns text with spaces.
fn group_name(gid: u32, groups: &str) -> String {
    if gid == OVERFLOW_GROUP {
        return "i2c, presumably; see `ls -l`".to_owned();
    }
    let number = gid.to_string();
    let mut groups = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let group = groups.find(|fields| fields.get(2) == Some(&number.as_str()));
    group.map_or(format!("number {gid}"), |fields| fields[0].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::tests::CapturedLog;

    #[test]
    fn owning_group_is_named() {
        let groups = "root:x:0:\ni2c:x:994:pi\n";
        assert_eq!(group_name(994, groups), "i2c");
        assert_eq!(group_name(4242, groups), "number 4242");
        for presumed in [group_name(65_534, "nogroup:x:65534:\n"), owning_group("/dev/no-node")] {
            assert_eq!(presumed, "i2c, presumably; see `ls -l`");
        }
    }

    #[test]
    fn missing_bus_is_absent() {
        let missing = LinuxBus::closed(251.into(), None).open();
        let Err(OpenError::Absent { bus: 251, .. }) = missing else { panic!("bus 251 exists") };
    }

    #[test]
    fn missing_adapter_is_not_locked() {
        let mut bus = LinuxBus::closed(251.into(), None);
        bus.claimed = Some(Arc::default());
        assert!(bus.open_node().is_err() && bus.claimed.is_none());
    }

    /// A loose USB adapter fails for a different reason each time.
    #[test]
    fn each_reason_is_logged_but_not_without_limit() {
        let mut bus = LinuxBus::closed(251.into(), None);
        let log = CapturedLog::start();
        let mut fail = |logged: Option<&str>| {
            if let Some(logged) = logged {
                bus.logged = Some(logged.to_owned());
            }
            let before = log.text().len();
            assert_eq!(bus.read_word(Address(0x40), 0).unwrap_err().kind, ErrorKind::Closed);
            log.text().len() > before
        };
        assert!(fail(None));
        assert!(!fail(None), "the same reason");
        assert!(fail(Some("another reason")));
        assert_eq!((0..100).filter(|_| fail(Some("another reason"))).count(), 8);
    }

    #[test]
    fn adapter_is_closed_only_after_adapter_failures() {
        // An unplugged adapter reports EIO (i2c-tiny-usb) or ENODEV (hid adapters), for example.
        for errno in [5, 19, 110, 16, 71, 108, 32] {
            assert!(is_of_the_adapter(&Error::from_errno(errno)), "{errno}");
        }
        for errno in [121, 6, 11] {
            assert!(!is_of_the_adapter(&Error::from_errno(errno)), "{errno}");
        }
        assert!(is_of_the_adapter(&Error::from_adapter(11, "MCP2221 usb-i2c bridge")));
    }
}
