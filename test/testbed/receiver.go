package testbed

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// Receiver is the far end of an Alertmanager's webhook: it keeps every notification.
type Receiver struct {
	URL string

	mu   sync.Mutex // Guards what follows.
	got  []Notification
	errs []error
}

// Notification is one message of an Alertmanager's webhook.
type Notification struct {
	GroupKey string         `json:"groupKey"`
	Status   string         `json:"status"` // firing, resolved
	Receiver string         `json:"receiver"`
	Alerts   []WebhookAlert `json:"alerts"`
}

// WebhookAlert is one alert of a Notification.
type WebhookAlert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Fingerprint string            `json:"fingerprint"`
}

// StartReceiver starts a Receiver; it ends with the test, which fails if a message could not be
// read.
func StartReceiver(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{}
	server := httptest.NewServer(r)
	r.URL = server.URL
	t.Cleanup(func() {
		server.Close()
		for _, err := range r.errs {
			t.Errorf("testbed: read a notification: %v", err)
		}
	})
	return r
}

// ServeHTTP takes one notification.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var n Notification
	err := json.NewDecoder(req.Body).Decode(&n)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.errs = append(r.errs, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.got = append(r.got, n)
}

// Notifications returns what has come so far, oldest first.
func (r *Receiver) Notifications() []Notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}
