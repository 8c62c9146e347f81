"""The comparison of speed: cells, processes, rounds, statistics, report."""
