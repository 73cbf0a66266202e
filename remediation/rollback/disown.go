package rollback

import (
	"context"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// disown gives up the fields that an action wrote. Whoever applies on the server's side, as Helm 4
// does, is refused to write what another one owns: without this the next release would fail, when it
// may be the one that mends things. What the annotation says of the action stays.
//
// It is no part of the action: if it fails, people are told how to get on.
func (d *deed) disown(ctx context.Context) {
	var last error
	for n := range d.opts.Attempts {
		w, err := d.read(ctx, d.request)
		if err == nil {
			ops := disownOps(w)
			if ops == nil {
				return
			}
			err = d.patch(ctx, ops, false)
		}
		if _, gone := asRefusal(err); err == nil || gone {
			return
		}
		last = err
		if d.wait(ctx, n, err) != nil {
			break
		}
	}
	d.logger.Warn("Fields stay owned", "target", d.request.Target, "err", last)
	d.effect.Warnings = append(d.effect.Warnings,
		"whoever applies on the server's side next has to force conflicts with tocsin")
}

// disownOps take the specification out of our entry in the record of who owns which fields, or are
// nil if it is not there.
func disownOps(w *workload) []op {
	entries, _, _ := unstructured.NestedSlice(w.Object, "metadata", "managedFields")
	for i, e := range entries {
		entry, ok := e.(map[string]any)
		if !ok || entry["manager"] != fieldManager || entry["subresource"] != nil {
			continue
		}
		fields, ok := entry["fieldsV1"].(map[string]any)
		if _, owns := fields["f:spec"]; !ok || !owns {
			continue
		}
		path := fmt.Sprintf("/metadata/managedFields/%d", i)
		rest := maps.Clone(fields)
		delete(rest, "f:spec")
		if len(rest) == 0 {
			return guarded(w, op{Op: "remove", Path: path})
		}
		return guarded(w, op{Op: "replace", Path: path + "/fieldsV1", Value: rest})
	}
	return nil
}
