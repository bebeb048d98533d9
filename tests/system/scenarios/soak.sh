#!/bin/bash
# As `chaos`, for 20 minutes, with a seed that differs from run to run.
# by name only
# seconds: 2400
chaos_length=1200
chaos_seed=$(($(date +%s) % 32768))
. scenarios/chaos.sh
