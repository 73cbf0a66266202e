package sim

import (
	"strconv"
	"strings"
	"time"

	"tocsin/fleet"
)

// What follows is as much of Kubernetes' objects as a watcher of releases reads.

type typeMeta struct {
	Kind       string `json:"kind,omitempty"`
	APIVersion string `json:"apiVersion,omitempty"`
}

type objectMeta struct {
	Name              string            `json:"name,omitempty"`
	Namespace         string            `json:"namespace,omitempty"`
	UID               string            `json:"uid,omitempty"`
	ResourceVersion   string            `json:"resourceVersion"`
	Generation        int64             `json:"generation,omitempty"`
	CreationTimestamp *time.Time        `json:"creationTimestamp,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty"`
	OwnerReferences   []ownerReference  `json:"ownerReferences,omitempty"`
	ManagedFields     []managedFields   `json:"managedFields,omitempty"`
}

type ownerReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
	Controller bool   `json:"controller"`
}

// kubeObject is any object that can be listed.
type kubeObject interface{ meta() *objectMeta }

type managedFields struct {
	Manager    string         `json:"manager"`
	Operation  string         `json:"operation"`
	APIVersion string         `json:"apiVersion"`
	Time       time.Time      `json:"time"`
	FieldsType string         `json:"fieldsType"`
	FieldsV1   map[string]any `json:"fieldsV1"`
}

type workloadObject struct {
	typeMeta
	Metadata objectMeta     `json:"metadata"`
	Spec     workloadSpec   `json:"spec"`
	Status   workloadStatus `json:"status"`
}

type workloadSpec struct {
	Replicas *int          `json:"replicas,omitempty"` // A DaemonSet has none.
	Selector labelSelector `json:"selector"`
	Template podTemplate   `json:"template"`
}

type labelSelector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

type podTemplate struct {
	Metadata struct {
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Containers []container `json:"containers"`
	} `json:"spec"`
}

type container struct {
	Name      string `json:"name"`
	Image     string `json:"image"`
	Resources struct {
		Limits map[string]string `json:"limits"`
	} `json:"resources"`
}

func (o *workloadObject) meta() *objectMeta { return &o.Metadata }

// workloadStatus has the fields of all kinds of workload.
type workloadStatus struct {
	ObservedGeneration     int64  `json:"observedGeneration"`
	Replicas               int    `json:"replicas,omitempty"`
	ReadyReplicas          int    `json:"readyReplicas,omitempty"`
	AvailableReplicas      int    `json:"availableReplicas,omitempty"`
	UpdatedReplicas        int    `json:"updatedReplicas,omitempty"`
	CurrentRevision        string `json:"currentRevision,omitempty"`
	UpdateRevision         string `json:"updateRevision,omitempty"`
	DesiredNumberScheduled int    `json:"desiredNumberScheduled,omitempty"`
	CurrentNumberScheduled int    `json:"currentNumberScheduled,omitempty"`
	UpdatedNumberScheduled int    `json:"updatedNumberScheduled,omitempty"`
	NumberReady            int    `json:"numberReady,omitempty"`
	NumberAvailable        int    `json:"numberAvailable,omitempty"`
}

type eventObject struct {
	typeMeta
	Metadata       objectMeta `json:"metadata"`
	InvolvedObject struct {
		Kind      string `json:"kind"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"involvedObject"`
	Reason         string    `json:"reason"`
	Message        string    `json:"message"`
	Type           string    `json:"type"`
	Count          int       `json:"count"`
	FirstTimestamp time.Time `json:"firstTimestamp"`
	LastTimestamp  time.Time `json:"lastTimestamp"`
}

func (o *eventObject) meta() *objectMeta { return &o.Metadata }

// written is a workload as it was written to the API server: a state of it, not a reference to the
// service.
type written struct {
	version    uint64
	generation int64
	number     int // Counts the revisions, as the annotation of a Deployment does.
	revision   revision
	before     revision // Before the last rollout.
	replicas   int
	standing   standing
	templateAt float64
	scaledAt   float64
}

// standing is what a workload's status tells of its pods.
type standing struct{ all, ready, updated int }

// warning is a Warning event of a pod.
type warning struct {
	version     uint64
	service     int // Its index.
	pod         string
	count       int
	first, last float64
}

// epoch turns seconds of the fleet into real time, as precise as Kubernetes is.
type epoch struct{ origin time.Time }

func (e epoch) at(seconds float64) time.Time {
	return e.origin.Add(time.Duration(seconds * float64(time.Second))).UTC().Truncate(time.Second)
}

// beginning is when all workloads were created.
var beginning = -400 * day.Seconds()

// object renders a workload.
func (w *written) object(s *service, at epoch) *workloadObject {
	created := at.at(beginning)
	labels := map[string]string{"app": s.name}
	o := &workloadObject{
		typeMeta: typeMeta{Kind: string(s.workload), APIVersion: "apps/v1"},
		Metadata: objectMeta{
			Name:              s.name,
			Namespace:         s.namespace,
			UID:               uid(s.key),
			Generation:        w.generation,
			ResourceVersion:   strconv.FormatUint(w.version, 10),
			CreationTimestamp: &created,
			Labels:            labels,
			ManagedFields: []managedFields{
				wrote("deploy", at.at(w.templateAt), "f:template"),
				wrote("autoscaler", at.at(w.scaledAt), "f:replicas"),
			},
		},
		Status: w.status(s),
	}
	if s.workload == fleet.Deployment {
		o.Metadata.Annotations = revisionNumber(w.number)
	}
	if s.workload != fleet.DaemonSet {
		o.Spec.Replicas = &w.replicas
	}
	o.Spec.Selector.MatchLabels = labels
	o.Spec.Template = s.template(w.revision)
	return o
}

// template renders the pod template of a revision.
func (s *service) template(v revision) podTemplate {
	c := container{Name: s.name, Image: s.tag(v)}
	c.Resources.Limits = map[string]string{
		"cpu":    strconv.FormatFloat(s.cpuLimit, 'f', 1, 64),
		"memory": strconv.FormatFloat(s.limit, 'f', 0, 64),
	}
	var t podTemplate
	t.Metadata.Labels = map[string]string{"app": s.name}
	t.Spec.Containers = []container{c}
	return t
}

// status renders the status of a workload, whose controller has always seen what was written last.
func (w *written) status(s *service) workloadStatus {
	n, o := w.standing, workloadStatus{ObservedGeneration: w.generation}
	if s.workload == fleet.DaemonSet {
		o.DesiredNumberScheduled, o.CurrentNumberScheduled = w.replicas, n.all
		o.UpdatedNumberScheduled, o.NumberReady, o.NumberAvailable = n.updated, n.ready, n.ready
		return o
	}
	o.Replicas, o.UpdatedReplicas = n.all, n.updated
	o.ReadyReplicas, o.AvailableReplicas = n.ready, n.ready
	if s.workload == fleet.StatefulSet {
		o.UpdateRevision = s.revisionName(w.revision)
		o.CurrentRevision = o.UpdateRevision
		if n.updated < n.all {
			o.CurrentRevision = s.revisionName(w.before)
		}
	}
	return o
}

// revisionName names the ReplicaSet or ControllerRevision of a revision.
func (s *service) revisionName(v revision) string { return s.name + "-" + s.hash(v) }

func revisionNumber(n int) map[string]string {
	return map[string]string{"deployment.kubernetes.io/revision": strconv.Itoa(n)}
}

func wrote(manager string, at time.Time, field string) managedFields {
	return managedFields{
		Manager:    manager,
		Operation:  "Update",
		APIVersion: "apps/v1",
		Time:       at,
		FieldsType: "FieldsV1",
		FieldsV1:   map[string]any{"f:spec": map[string]any{field: map[string]any{}}},
	}
}

// object renders an event.
func (w *warning) object(s *service, at epoch) *eventObject {
	created := at.at(w.first)
	o := &eventObject{
		typeMeta: typeMeta{Kind: "Event", APIVersion: "v1"},
		Metadata: objectMeta{
			Name:              w.pod + "." + suffix(named(s.key, w.pod), 10),
			Namespace:         s.namespace,
			UID:               uid(named(s.key, w.pod)),
			ResourceVersion:   strconv.FormatUint(w.version, 10),
			CreationTimestamp: &created,
		},
		Reason: "BackOff", Type: "Warning", Count: w.count,
		Message:        "Back-off restarting failed container " + s.name + " in pod " + w.pod,
		FirstTimestamp: created, LastTimestamp: at.at(w.last),
	}
	o.InvolvedObject.Kind, o.InvolvedObject.Name = "Pod", w.pod
	o.InvolvedObject.Namespace = s.namespace
	return o
}

// resourceOf returns the plural by which the API knows a kind.
func resourceOf(kind fleet.Workload) string { return strings.ToLower(string(kind)) + "s" }
