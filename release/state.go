package release

import (
	"errors"
	"fmt"

	"tocsin/release/evidence"
)

// judgeVersion is that of JudgeState. Another version is another way to count: it is refused, not guessed at.
const judgeVersion = 1

// JudgeState is all that a Judge has learnt, as JSON. Trials are not part of it.
type JudgeState struct {
	Version  int                        `json:"version"`
	Fleet    *evidence.Fleet            `json:"fleet"`
	Services map[string]*evidence.Model `json:"services"`
	Checked  map[string]*Checked        `json:"checked,omitempty"`
}

// State returns what the judge has learnt. It shares its memory with the judge: write it before the judge
// goes on.
func (j *Judge) State() JudgeState {
	return JudgeState{Version: judgeVersion, Fleet: j.fleet, Services: j.models, Checked: j.checked}
}

// Restore takes over a state that was read. The judge must be new, and is as before if the state is refused.
func (j *Judge) Restore(s JudgeState) error {
	if len(j.models) > 0 {
		return errors.New("restore the judge: it has begun already")
	}
	if s.Version != judgeVersion {
		return fmt.Errorf("restore the judge: version %d, want %d", s.Version, judgeVersion)
	}
	if s.Fleet == nil {
		return errors.New("restore the judge: nothing about the fleet")
	}
	for name, m := range s.Services {
		if m == nil {
			return fmt.Errorf("restore the judge: nothing about %s", name)
		}
	}
	for name, c := range s.Checked {
		if c == nil || c.Trials < 0 || c.False < 0 || c.False > c.Trials {
			return fmt.Errorf("restore the judge: what %s was checked by makes no sense", name)
		}
	}
	j.fleet = s.Fleet
	for name, m := range s.Services {
		m.Join(j.fleet)
		j.models[name] = m
	}
	for name, c := range s.Checked {
		j.checked[name] = c
	}
	return nil
}
