"""Every statement of the spool but the filtered lists, named; by concern."""
