"""Every bench case runs once in a tiny size, so that it cannot rot."""
