"""``./dev mutate``: small faults in the code, and which of them no test of the same level notices.

=================  ==========================================================================
``operators``      the kinds of faults: those of mutmut, and five on statements
``rules``          what is not mutated, each with its reason
``mutants``        the faults of a file in a stable order, and its text with one of them
``draw``           a random sample of them, the same for the same seed
``tree``           a copy of the checkout
``imports``        which test file imports which module
``measure``        which test covers which line, measured once and cached
``select``         the tests that a fault is shown to, nearest first
``pytest_plugin``  the part that runs inside pytest
``runner``         one run of pytest: environment, time limit, leftover processes
``judge``          one fault's verdict
``session``        a whole run
``report``         what is printed
=================  ==========================================================================

The operators are mutmut's, the driver is not: mutmut's own has no sample, leaves out all code outside of
functions, and forks from one process that has imported every fault of the project.
"""
