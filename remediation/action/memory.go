package action

import (
	"slices"
	"strings"
	"time"

	"tocsin/fleet"
)

// Bad is a set of images of a service that was judged bad in some cluster.
type Bad struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Images    []string  `json:"images"`
	Cluster   string    `json:"cluster"` // Where first.
	Release   string    `json:"release"` // Its ID there.
	At        time.Time `json:"at"`
	Reason    string    `json:"reason"` // Of the verdict.
}

// badKey names a set of images of a service, whatever the cluster.
func badKey(s fleet.Service, images []string) string {
	sorted := slices.Sorted(slices.Values(images))
	return strings.Join(append([]string{s.Namespace, s.Name}, sorted...), "\x00")
}
