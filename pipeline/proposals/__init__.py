"""From boxes to masks: GrabCut, combinatorial grouping, pre-computed candidates, and their fusion."""
