"""headwater: where should my network's first weights come from?"""

from headwater.core import interruption

__version__ = "0.1.0"

if interruption.is_command():
    # before anything else is imported, which takes seconds where torch is needed
    interruption.end_at_once()
