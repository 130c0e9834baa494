"""The settings of an experiment, from its TOML file and the command line."""
