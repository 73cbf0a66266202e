package release

import (
	"encoding/json"
	"math"
	"time"

	"tocsin/release/evidence"
)

// missing is how Missing is written: the time in seconds.
type missing struct {
	Requests float64 `json:"requests,omitempty"`
	Seconds  float64 `json:"seconds,omitempty"`
}

// MarshalJSON writes the time in seconds.
func (m Missing) MarshalJSON() ([]byte, error) {
	return json.Marshal(missing{m.Requests, m.Time.Seconds()})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *Missing) UnmarshalJSON(text []byte) error {
	var in missing
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	m.Requests = in.Requests
	m.Time = time.Duration(math.Round(in.Seconds * float64(time.Second)))
	return nil
}

// MarshalJSON writes null where JSON has no number: a bound that is infinite, an effect of which
// nothing is known.
func (v Verdict) MarshalJSON() ([]byte, error) {
	type plain Verdict
	return json.Marshal(struct {
		plain
		EValue *float64 `json:"e_value"`
		Effect *float64 `json:"effect"`
		Lower  *float64 `json:"lower"`
		Upper  *float64 `json:"upper"`
	}{
		plain(v), evidence.Finite(v.EValue), evidence.Finite(v.Effect), evidence.Finite(v.Lower),
		evidence.Finite(v.Upper),
	})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *Verdict) UnmarshalJSON(text []byte) error {
	type plain Verdict
	var in struct {
		plain
		EValue *float64 `json:"e_value"`
		Effect *float64 `json:"effect"`
		Lower  *float64 `json:"lower"`
		Upper  *float64 `json:"upper"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*v = Verdict(in.plain)
	v.EValue = evidence.Or(in.EValue, math.Inf(1))
	v.Effect = evidence.Or(in.Effect, math.NaN())
	v.Lower, v.Upper = evidence.Or(in.Lower, math.Inf(-1)), evidence.Or(in.Upper, math.Inf(1))
	return nil
}
