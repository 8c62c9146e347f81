"""One page of HTML about what was trained, verified and measured."""
