"""How fast daskimg is, as ratios to a bare loop that does the same work: ``make bench``."""
