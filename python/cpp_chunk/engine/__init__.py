"""Runs in the engine core process: profile, plan, schedule, collect, calibrate."""
