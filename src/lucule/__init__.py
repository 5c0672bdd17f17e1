"""lucule: from blinking molecules to biology without hand-set thresholds."""
