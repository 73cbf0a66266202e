// Package fleet names the things that tocsin watches: services, their revisions, and what happened to them.
package fleet

import (
	"fmt"
	"strings"
)

// Service is one workload of one cluster. It is comparable and serves as a key.
type Service struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	Name      string `json:"service"` // Name of the workload (or of the mesh's service), not of a pod.
}

// String returns cluster/namespace/name, the form that ParseService reads.
func (s Service) String() string {
	return s.Cluster + "/" + s.Namespace + "/" + s.Name
}

// Compare orders services by cluster, namespace and name.
func (s Service) Compare(t Service) int {
	if c := strings.Compare(s.Cluster, t.Cluster); c != 0 {
		return c
	}
	if c := strings.Compare(s.Namespace, t.Namespace); c != 0 {
		return c
	}
	return strings.Compare(s.Name, t.Name)
}

// ParseService reads what String wrote. Cluster names may not hold a slash.
func ParseService(text string) (Service, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 || parts[0] == "" || parts[2] == "" {
		return Service{}, fmt.Errorf("service %q: want cluster/namespace/name", text)
	}
	return Service{parts[0], parts[1], parts[2]}, nil
}
