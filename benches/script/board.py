"""Blinka's bus of Linux with an INA260 in memory in place of the system calls, so that only the
cost of the script and of its libraries is measured."""

from Adafruit_PureIO import smbus
from adafruit_blinka import Lockable
from adafruit_blinka.microcontroller.generic_linux.i2c import I2C as LinuxI2C

WORDS = {
    0x00: 0x6127,  # configuration
    0x01: 0x0FA0,  # current: 5 A
    0x02: 0x2580,  # bus voltage: 12 V
    0x03: 0x1770,  # power: 60 W
    0xFE: 0x5449,  # manufacturer
    0xFF: 0x2270,  # die
}


class Device:
    """The methods of an open `/dev/i2c-1` that the libraries use besides ioctl(2)."""

    def fileno(self):
        return -1

    def write(self, _buffer):
        pass

    def close(self):
        pass


def ioctl(_descriptor, request, argument):
    """Reads a register: a message with its number, then one with its word, high byte first."""
    if request == smbus.I2C_RDWR:
        number, word = argument.msgs[0], argument.msgs[1]
        word.buf[0], word.buf[1] = WORDS[number.buf[0]].to_bytes(2, "big")


def open_device(bus, _number):
    bus._device = Device()


smbus.ioctl = ioctl
smbus.SMBus.open = open_device


class Bus(Lockable, LinuxI2C):
    """As the `board` of the virtual machine has it."""


def I2C():  # noqa: N802 - Blinka's name
    return Bus(1)
