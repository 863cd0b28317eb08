"""Measurements of a real stack, printed as figures and as ratios within one run; nothing here is asserted."""
