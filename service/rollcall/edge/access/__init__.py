"""Who may ask what: identities from certificates and tokens, and the table of roles that each call needs."""
