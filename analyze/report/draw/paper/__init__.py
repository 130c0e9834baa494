"""Charts for a paper, as SVG and PDF."""
