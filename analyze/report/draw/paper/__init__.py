"""Draw charts for a paper, as SVG and PDF."""
