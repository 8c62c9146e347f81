"""The processes of a run that train together: which one this is, and how they agree."""
