"""The command line: one file a command, cheap to import: what a command needs it imports when it runs."""
