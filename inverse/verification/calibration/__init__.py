"""From a potential's own values to the DFT scale, with their errors."""
