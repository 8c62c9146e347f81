"""What this machine, this Python and each framework can do, and why not: `unidl.doctor.survey.survey()`.

Only collects; `unidl.cli.doctor` draws it.
"""
