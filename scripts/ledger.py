"""Writes which patients, examinations and images the parts of a grid share: `python scripts/ledger.py --help`."""

from headwater.core.command_line import door
from headwater.stages.ledger import ledger

if __name__ == "__main__":
    door(ledger)
