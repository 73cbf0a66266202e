package evidence

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestFindingsHaveAFormInJSON(t *testing.T) {
	for _, f := range []Finding{
		{
			Metric: CPU, Name: "cpu", LogE: 3.25, Whole: 4.5, Effect: 0.5, Lower: 0.25, Upper: 0.75, New: 10, Old: 20,
			NewEvents: 3, OldEvents: 4, Usual: 0.125, Material: true, BeforeOnly: true,
		},
		{
			Metric: Errors, Name: "errors", LogE: math.Inf(-1), Whole: math.Inf(-1), Lower: math.Inf(-1),
			Upper: math.Inf(1), Usual: math.Inf(1),
		},
		{Metric: Metrics, Name: "of another version"},
	} {
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatalf("%+v: %v", f, err)
		}
		var got Finding
		if err := json.Unmarshal(text, &got); err != nil || got != f {
			t.Errorf("%s is read as %+v (%v), want %+v", text, got, err, f)
		}
	}
	text, err := json.Marshal(Finding{Effect: math.NaN()})
	if err != nil || !strings.Contains(string(text), `"effect":null`) {
		t.Errorf("%s, %v", text, err)
	}
	var got Finding
	if err := json.Unmarshal(text, &got); err != nil || !math.IsNaN(got.Effect) {
		t.Errorf("%s is read as %+v, %v", text, got, err)
	}
}
