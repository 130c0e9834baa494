"""Charts as data, and what draws them: the page, a paper, a spreadsheet."""
