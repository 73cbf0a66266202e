package detector

import (
	"encoding/json"
	"math"
	"testing"
)

func TestNumbersHaveAFormInJSON(t *testing.T) {
	in := []Number{1.5, Number(math.NaN()), Number(math.Inf(1)), -3e-9}
	text, err := json.Marshal(in)
	if err != nil || string(text) != "[1.5,null,null,-3e-09]" {
		t.Fatalf("%s, %v", text, err)
	}
	var out []Number
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	for i, v := range out {
		if none := i == 1 || i == 2; none != math.IsNaN(float64(v)) || !none && v != in[i] {
			t.Errorf("%v is read as %v", in[i], v)
		}
	}
	if err := json.Unmarshal([]byte(`["1"]`), &out); err == nil {
		t.Error("a string is read as a number")
	}
}
