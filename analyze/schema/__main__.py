"""python -m analyze.schema: write docs/reference/metrics.md."""

from analyze.schema.reference import PAGE, reference

if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(reference(), encoding="utf-8")
    print(PAGE)
