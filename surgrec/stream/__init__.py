"""Which sample comes next (pure functions), then fetching its bytes. No torch."""
