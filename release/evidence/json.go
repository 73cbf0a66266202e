package evidence

import (
	"encoding/json"
	"math"
)

// MarshalJSON writes null where JSON has no number: a bound that is infinite, an effect of which
// nothing is known.
func (f Finding) MarshalJSON() ([]byte, error) {
	type plain Finding
	return json.Marshal(struct {
		plain
		LogE   *float64 `json:"log_e"`
		Whole  *float64 `json:"log_e_whole"`
		Effect *float64 `json:"effect"`
		Lower  *float64 `json:"lower"`
		Upper  *float64 `json:"upper"`
		Usual  *float64 `json:"usual"`
	}{
		plain(f), Finite(f.LogE), Finite(f.Whole), Finite(f.Effect), Finite(f.Lower), Finite(f.Upper),
		Finite(f.Usual),
	})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (f *Finding) UnmarshalJSON(text []byte) error {
	type plain Finding
	var in struct {
		plain
		LogE   *float64 `json:"log_e"`
		Whole  *float64 `json:"log_e_whole"`
		Effect *float64 `json:"effect"`
		Lower  *float64 `json:"lower"`
		Upper  *float64 `json:"upper"`
		Usual  *float64 `json:"usual"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*f = Finding(in.plain)
	f.LogE, f.Whole = Or(in.LogE, math.Inf(-1)), Or(in.Whole, math.Inf(-1))
	f.Effect = Or(in.Effect, math.NaN())
	f.Lower, f.Upper = Or(in.Lower, math.Inf(-1)), Or(in.Upper, math.Inf(1))
	f.Usual = Or(in.Usual, math.Inf(1))
	f.Metric = Metrics
	for m := range Metrics {
		if m.String() == f.Name {
			f.Metric = m
		}
	}
	return nil
}

// Finite returns nil for what JSON has no number for.
func Finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// Or returns the number that is there, or what its absence stands for.
func Or(v *float64, absent float64) float64 {
	if v == nil {
		return absent
	}
	return *v
}
