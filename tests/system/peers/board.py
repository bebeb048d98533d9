"""Bus 1 of a machine that Blinka's own `board` module does not detect."""

from adafruit_blinka import Lockable
from adafruit_blinka.microcontroller.generic_linux.i2c import I2C as LinuxI2C


class Bus(Lockable, LinuxI2C):
    """Blinka's bus of Linux, with the lock that `busio.I2C` adds."""


def I2C():  # noqa: N802 - Blinka's name
    return Bus(1)
