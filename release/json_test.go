package release

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"tocsin/release/evidence"
)

func TestVerdictsHaveAFormInJSON(t *testing.T) {
	for _, v := range []Verdict{
		{},
		{
			Result: Regressed, Tier: AtOnce, At: time.Unix(1_700_000_000, 0).UTC(),
			Elapsed: 90 * time.Second, EValue: math.Inf(1), Metric: "errors", Effect: 0.05,
			Lower: 0.04, Upper: 0.06, Reason: "errors worse",
			Missing: Missing{Requests: 12, Time: 1500 * time.Millisecond},
			Metrics: []evidence.Finding{{Metric: evidence.Errors, Name: "errors", LogE: 9}},
		},
		{Metric: "memory", Lower: math.Inf(-1), Upper: math.Inf(1)},
	} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%+v: %v", v, err)
		}
		var got Verdict
		if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%s is read as %+v (%v), want %+v", text, got, err, v)
		}
	}
}
