"""Reproduction of a table: many configurations, trained and evaluated with several seeds.

Modules:

    plan        rows, seeds and benchmarks, read from a gin file
    parts       the trainings and evaluations that a plan needs
    child       runs one part in a process of its own
    running     runs parts, keeps what is finished
    results     the table
    pairing     differences to the row of reference, per sequence
    drawing     the figures
"""
