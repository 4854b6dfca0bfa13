"""What people write: configs, constraints, structure files, tables, records."""
