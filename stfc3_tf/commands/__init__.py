"""Code that all commands share.

Modules:

    console                       `stfc3 VERB`
    command                       how a command starts and ends: errors, exit status
    flag_check                    flags and --help, before any large library is imported
    flag_errors                   mistakes in flags, as one line
    label_flags                   the flags of labels in files
    named_paths                   flags of the form NAME=PATH
    idle_flags                    flags that would have no effect
    configuration, gin_files      gin configurations
    setting_types                 whether the values in them have the right types
    received_config               the configuration of somebody else's run
"""
