#!/bin/bash
# No scenario: where those begin that are not about the installation itself. A system that has I2C, and our package, not started.
. scenarios/lib.sh
enable_i2c
install_package
