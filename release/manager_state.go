package release

// ManagerState is all that a Manager knows but the samples, as JSON. Those are asked for again.
type ManagerState struct {
	Version string       `json:"version"`
	Tracker TrackerState `json:"tracker"`
}

// State returns what the manager knows. Nothing of it is yet to be reported.
func (m *Manager) State() ManagerState { return ManagerState{} }

// Restore takes over a state. The manager must be new, and is as before if the state is refused.
func (m *Manager) Restore(s ManagerState) error { return nil }
