# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ina260_exporter_global_optspecs
    string join \n hostname= device= port= config= listen= bus= address= mux= interval= simulate= wait-for-sensor check-config quiet log-level= h/help V/version
end

function __fish_ina260_exporter_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ina260_exporter_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ina260_exporter_using_subcommand
    set -l cmd (__fish_ina260_exporter_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l hostname -d 'Value of the label `hostname` [default: the machine\'s name]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l device -d 'Name of the single sensor (label `device`) [default: deepx]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l port -d 'TCP port to serve metrics on [default: 8000]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l config -d 'Configuration file [default: /etc/ina260-exporter.toml, if present]' -r -F
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l listen -d 'Address to serve metrics on: IP:PORT (IPv6 in brackets) or unix:/PATH [default: 0.0.0.0:8000]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l bus -d 'Bus of the single sensor: the N in /dev/i2c-N, a path, or name:NAME [default: 1]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l address -d 'Address of the single sensor, 0x40 to 0x4f [default: 0x40]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l mux -d 'TCA9548A (0x70 to 0x77) and channel (0 to 7) that the single sensor is downstream of, e.g. 0x70:3' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l interval -d 'Maximum nominal time between two results; sensors may override it [default: 1s]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l simulate -d 'Use simulated sensors, optionally with faults, e.g. --simulate=no-answer@30+20' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l log-level -d 'Minimum severity of messages to log: error, warn, info, debug (every result) or trace (every transfer) [default: info]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l wait-for-sensor -d 'Start even if no sensor responds, and keep retrying'
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l check-config -d 'Check the configuration, print the effective settings with their sources, and exit'
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -l quiet -d 'With --check-config, print errors only'
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -s V -l version -d 'Print version'
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -f -a "scan" -d 'Scan the I2C buses for INA260s; never writes to a sensor'
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -f -a "read" -d 'Print one result of each sensor, with its settings, flags and alert; never changes a setting'
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -f -a "watch" -d 'Show sensors live in the terminal: charts, extremes, energy, alerts'
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -f -a "run" -d 'Run a command and print the energy that each sensor measured'
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -f -a "calibrate" -d 'Measure a sensor\'s offset or gains, and print the keys of its calibration'
complete -c ina260-exporter -n "__fish_ina260_exporter_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand scan" -l bus -d 'Scan only this bus: the N in /dev/i2c-N, a path, or name:NAME' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand scan" -l config -d 'Configuration file [default: /etc/ina260-exporter.toml, if present]' -r -F
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand scan" -l simulate -d 'Use simulated buses with the configured sensors, optionally with faults, e.g. --simulate=no-answer@30+20' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand scan" -l mux -d 'Also scan downstream of TCA9548A multiplexers; writes to any device at 0x70 to 0x77'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand scan" -l json -d 'Print JSON'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand scan" -l toml -d 'Print a [[sensor]] table for each INA260 that is not yet in the configuration, to append to it'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand scan" -s h -l help -d 'Print help'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand read" -l bus -d 'Only the sensor on this bus (the N in /dev/i2c-N, a path, or name:NAME), instead of the configured ones [default: 1]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand read" -l address -d 'Only the sensor at this address, 0x40 to 0x4f, instead of the configured ones [default: 0x40]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand read" -l mux -d 'Only the sensor downstream of this TCA9548A (0x70 to 0x77) and channel (0 to 7), e.g. 0x70:3; selects the channel' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand read" -l interval -d 'With --follow, time between two lines of one sensor [default: the configured interval]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand read" -l for -d 'With --follow, end after this time, at most 1h [default: until interrupted]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand read" -l config -d 'Configuration file [default: /etc/ina260-exporter.toml, if present]' -r -F
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand read" -l simulate -d 'Use simulated buses with the configured sensors, optionally with faults, e.g. --simulate=no-answer@30+20' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand read" -l json -d 'Print JSON'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand read" -l follow -d 'Print CSV continuously until interrupted'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand read" -s h -l help -d 'Print help'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand watch" -l url -d 'Exporter to watch: http://HOST:PORT/metrics, HOST[:PORT] or unix:/PATH; may be repeated [default: the configured listen address of this machine]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand watch" -l price -d 'Price per kilowatt-hour; adds the cost of the energy' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand watch" -l bus -d 'Only the sensor on this bus (the N in /dev/i2c-N, a path, or name:NAME), instead of the configured ones [default: 1]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand watch" -l address -d 'Only the sensor at this address, 0x40 to 0x4f, instead of the configured ones [default: 0x40]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand watch" -l mux -d 'Only the sensor downstream of this TCA9548A (0x70 to 0x77) and channel (0 to 7), e.g. 0x70:3; selects the channel' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand watch" -l config -d 'Configuration file [default: /etc/ina260-exporter.toml, if present]' -r -F
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand watch" -l simulate -d 'Use simulated buses with the configured sensors, optionally with faults, e.g. --simulate=no-answer@30+20' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand watch" -l direct -d 'Read the configured sensors directly instead of through the service; their buses must not be in use'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand watch" -s h -l help -d 'Print help'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l device -d 'Measure only this sensor; may be repeated [default: all configured sensors]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l repeat -d 'Run COMMAND this many times; stop after the first failure [default: 1]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l warmup -d 'First run COMMAND this many times without measuring [default: 0]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l idle -d 'First measure the idle power for this time, at most 1h; also show the energy net of idle' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l interval -d 'When measuring directly, maximum time between two results [default: as short as the bus allows]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l output -d 'Write to this file instead of standard error' -r -F
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l config -d 'Configuration file [default: /etc/ina260-exporter.toml, if present]' -r -F
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l simulate -d 'Use simulated buses with the configured sensors, optionally with faults, e.g. --simulate=no-answer@30+20' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l sum -d 'Also print the sum of the sensors, for a load that is fed through several of them'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l direct -d 'Measure directly, never through the service'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l json -d 'Print JSON'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l csv -d 'Print CSV, a line for each run and sensor'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -l verbose -d 'Also list each run, how it was measured, and the error due to the chip\'s limited accuracy'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand run" -s h -l help -d 'Print help'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand calibrate" -l current -d 'True current, as shown by a reference instrument, such as 2.500A' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand calibrate" -l voltage -d 'True bus voltage, as shown by a reference instrument, such as 12.003V' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand calibrate" -l device -d 'Sensor to calibrate, if several are configured' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand calibrate" -l for -d 'Time to average over, at most 1h [default: 60s]' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand calibrate" -l config -d 'Configuration file [default: /etc/ina260-exporter.toml, if present]' -r -F
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand calibrate" -l simulate -d 'Use simulated buses with the configured sensors, optionally with faults, e.g. --simulate=no-answer@30+20' -r
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand calibrate" -l zero -d 'Measure the offset, with the supply on and the load disconnected'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand calibrate" -l toml -d 'Print a [[sensor]] table to paste'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand calibrate" -l direct -d 'Measure directly, never through the service'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand calibrate" -s h -l help -d 'Print help'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand help; and not __fish_seen_subcommand_from scan read watch run calibrate help" -f -a "scan" -d 'Scan the I2C buses for INA260s; never writes to a sensor'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand help; and not __fish_seen_subcommand_from scan read watch run calibrate help" -f -a "read" -d 'Print one result of each sensor, with its settings, flags and alert; never changes a setting'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand help; and not __fish_seen_subcommand_from scan read watch run calibrate help" -f -a "watch" -d 'Show sensors live in the terminal: charts, extremes, energy, alerts'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand help; and not __fish_seen_subcommand_from scan read watch run calibrate help" -f -a "run" -d 'Run a command and print the energy that each sensor measured'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand help; and not __fish_seen_subcommand_from scan read watch run calibrate help" -f -a "calibrate" -d 'Measure a sensor\'s offset or gains, and print the keys of its calibration'
complete -c ina260-exporter -n "__fish_ina260_exporter_using_subcommand help; and not __fish_seen_subcommand_from scan read watch run calibrate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
