"""The section "Polytopes": a part for each experiment, with pictures, numbers beside their controls, and a verdict."""
