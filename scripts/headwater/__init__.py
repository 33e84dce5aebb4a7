"""headwater: where should my network's first weights come from?"""

__version__ = "0.1.0"
