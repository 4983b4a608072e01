//! A home's life: its ports, its directory, its end.
