#!/bin/bash
# Debian's own tests of the installed package, also the one for which it takes a machine of its own.
. scenarios/lib.sh
# Where scenarios lie nothing can be executed.
sh debian/tests/simulated
sh debian/tests/service
