#!/usr/bin/env python3
"""The script that the service replaces: three gauges, once a second, on the libraries of Adafruit
and Prometheus."""

import argparse
import time

import adafruit_ina260
import board
from prometheus_client import Gauge, start_http_server

parser = argparse.ArgumentParser()
parser.add_argument("--hostname", default="localhost")
parser.add_argument("--device", default="deepx")
parser.add_argument("--port", type=int, default=8000)
arguments = parser.parse_args()

labels = ["hostname", "device"]
voltage = Gauge("ina260_voltage", "Bus voltage in V", labels)
current = Gauge("ina260_current", "Current in mA", labels)
power = Gauge("ina260_power", "Power in mW", labels)

sensor = adafruit_ina260.INA260(board.I2C())
start_http_server(arguments.port)
values = arguments.hostname, arguments.device
while True:
    voltage.labels(*values).set(sensor.voltage)
    current.labels(*values).set(sensor.current)
    power.labels(*values).set(sensor.power)
    time.sleep(1)
