"""The speed comparison: cells, processes, rounds, statistics, report."""
