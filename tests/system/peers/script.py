#!/usr/bin/env python3
"""The script that the service replaces: three gauges, once a second, on the libraries of Adafruit
and Prometheus."""

import argparse
import time

import adafruit_ina260
import board
from prometheus_client import Gauge, start_http_server

LABELS = ["hostname", "device"]
VOLTAGE = Gauge("ina260_voltage", "Bus voltage in V", LABELS)
CURRENT = Gauge("ina260_current", "Current in mA", LABELS)
POWER = Gauge("ina260_power", "Power in mW", LABELS)


def update(sensor, labels):
    VOLTAGE.labels(*labels).set(sensor.voltage)
    CURRENT.labels(*labels).set(sensor.current)
    POWER.labels(*labels).set(sensor.power)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hostname", default="localhost")
    parser.add_argument("--device", default="deepx")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    sensor = adafruit_ina260.INA260(board.I2C())
    start_http_server(arguments.port)
    while True:
        update(sensor, (arguments.hostname, arguments.device))
        time.sleep(1)


if __name__ == "__main__":
    main()
