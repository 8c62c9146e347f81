"""A survey of this machine, this Python and each framework: `unidl.doctor.survey.survey()`.

This package only collects; `unidl.cli.doctor` prints it.
"""
