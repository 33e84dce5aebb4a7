"""Twins: small synthetic archives in the byte layout of the real ones, for the demo, the tests and planning.

A plug-in has the name of the archive that it imitates and holds
    make(folder, *, cases, seed, first_patient=1, size=96) -> None
                    writes the archive at `folder`, completely or not at all, with a stamp `twin.json` of its
                    parameters. The same arguments give the same bytes; a patient's images depend on the seed and the
                    patient's number only, so twins with disjoint ranges of patient numbers share no patient.

The images are phantoms: they resemble a chest, and each finding has a sign that a network can learn. They allow no
conclusion about patients.
"""
