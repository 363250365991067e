"""The report: an experiment's results on one page of HTML that needs nothing beside it."""
