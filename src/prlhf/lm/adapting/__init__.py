"""Meeting new users: rows of the user table from a few votes, with everything else frozen."""
