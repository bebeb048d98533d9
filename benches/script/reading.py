#!/usr/bin/env python3
"""Prints the time in ns that the script takes for a reading, and its transfers alone."""

import time

import adafruit_ina260
import board
import script

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


bus = board.I2C()
sensor = adafruit_ina260.INA260(bus)
written, read = bytearray(1), bytearray(2)


def transfers():
    for register in 0x02, 0x01, 0x03:
        written[0] = register
        bus.writeto_then_readfrom(0x40, written, read)


print(fastest(lambda: script.update(sensor, ("pi4", "orin"))), fastest(transfers))
