"""Whole histories of runs, in real processes that are killed: the central law as a test.

days       what the shop's tables hold each day, and what must come of it (plain Python)
worker     a process that takes one step of a history, and kills itself where it is told to
play       plays a history against the emulator and looks whether the law held
draw       draws histories
"""
