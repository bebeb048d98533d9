#!/bin/bash
# Not a scenario: prepares the state from which most scenarios resume. I2C is enabled and the
# package is installed, but not started.
. scenarios/lib.sh
enable_i2c
install_package
