#!/bin/bash
# debian/tests pass on the installed package, including the one that needs a machine of its own.
# on amd64
. scenarios/lib.sh
# The scenarios' file system is mounted noexec.
sh debian/tests/simulated
sh debian/tests/service
