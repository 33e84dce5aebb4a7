"""Twins: small synthetic archives in the byte layout of the real ones, for the demo, the tests and the planning.

A plug-in bears the name of the archive that it imitates and holds
    make(folder, *, cases, seed, first_patient=1, size=96) -> None
                    the archive at `folder`, which appears whole or not at all, with a stamp `twin.json` that says what
                    it was made from. The same arguments give the same bytes; a patient's pictures depend on the seed
                    and the patient's number only, so twins with other first patients share no patient.

What is drawn is a phantom: chest-like enough to look at, with a sign for each finding that a network can learn. It says
nothing about patients.
"""
