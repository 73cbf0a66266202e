package detector

import (
	"cmp"
	"context"
	"slices"
)

// Findings returns the findings that are open, ordered by start and ID.
func (e *Engine) Findings(ctx context.Context) ([]Finding, error) {
	var out []Finding
	err := e.onAll(ctx.Done(), func(s *shard) {
		for _, c := range s.clusters {
			for _, col := range c.order {
				for _, f := range col.open {
					if !f.silent {
						out = append(out, f.Finding)
					}
				}
			}
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Finding) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}
