"""Members joined to surrogates: mean and spread, stack, calibration, domain."""
