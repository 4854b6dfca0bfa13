"""The machine below: devices, whole files, settings of the process."""
