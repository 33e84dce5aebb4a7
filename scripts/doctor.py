"""Checks your copy of an archive before any job reads it, and names no patient: `python scripts/doctor.py --help`."""

from headwater.core.command_line import door
from headwater.data.integrity import doctor

if __name__ == "__main__":
    door(doctor)
