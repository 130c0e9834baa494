"""The report: one page that opens from disk, its sections, and every figure as files."""
