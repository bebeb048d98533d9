#!/usr/bin/env python3
"""Prints the time in ns that the script takes for a reading, and its system calls alone."""

import time
from ctypes import POINTER, c_uint8, cast, create_string_buffer, pointer

import adafruit_ina260
import board
import script
from Adafruit_PureIO import smbus

READINGS = 5_000
ROUNDS = 5


def fastest(call):
    """Returns the time of a call in the fastest round, in ns."""

    def one_round():
        start = time.perf_counter_ns()
        for _ in range(READINGS):
            call()
        return (time.perf_counter_ns() - start) / READINGS

    return min(one_round() for _ in range(ROUNDS))


def request(register):
    """Returns the argument of ioctl(2) that reads a register."""
    number, word = pointer(c_uint8(register)), create_string_buffer(2)
    write = (0x40, 0, 1, number)
    return smbus.make_i2c_rdwr_data(
        [write, (0x40, smbus.I2C_M_RD, 2, cast(word, POINTER(c_uint8)))]
    )


sensor = adafruit_ina260.INA260(board.I2C())
requests = [request(register) for register in (0x02, 0x01, 0x03)]


def system_calls():
    for argument in requests:
        board.ioctl(-1, smbus.I2C_RDWR, argument)


print(fastest(lambda: script.update(sensor, ("pi4", "orin"))), fastest(system_calls))
