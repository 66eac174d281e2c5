"""The figures of the calibration: models of several kinds, faults, bad profiles."""
