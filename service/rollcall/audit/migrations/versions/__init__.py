"""One file per version of the schema, each leading from the one before."""
