"""Describe charts as data, and draw them for the page, a paper and a spreadsheet."""
