"""Process reward models: trained, calibrated, scored, evaluated, and used to select."""
