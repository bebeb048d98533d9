#!/bin/bash
# Debian's own tests of the installed package, also the one for which it takes a machine of its own.
# on amd64
. scenarios/lib.sh
# Where scenarios lie nothing can be executed.
sh debian/tests/simulated
sh debian/tests/service
