"""Data files that ship with the package: prices, dated and sourced. No code lives here."""
