"""Problems and warnings of specs, with their messages."""
