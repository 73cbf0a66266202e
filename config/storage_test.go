package config

import (
	"testing"

	"github.com/prometheus/common/model"
)

func TestFree(t *testing.T) {
	for _, tc := range []struct {
		text string
		want Free
	}{
		{"1GiB", Free{Bytes: 1 << 30}},
		{"500MB", Free{Bytes: 500e6}},
		{"1.5GiB", Free{Bytes: 3 << 29}},
		{"0B", Free{}},
		{"5%", Free{Percent: 5}},
		{"0.5 %", Free{Percent: 0.5}},
		{"5%, 1GiB", Free{Percent: 5, Bytes: 1 << 30}},
		{" 5 %,500MB ", Free{Percent: 5, Bytes: 500e6}},
	} {
		got, err := parseFree(tc.text)
		if err != nil || got != tc.want {
			t.Errorf("parseFree(%q) = %+v, %v; want %+v", tc.text, got, err, tc.want)
		}
		if again, err := parseFree(got.String()); err != nil || again != got {
			t.Errorf("parseFree(%q) = %+v, %v; want %+v", got.String(), again, err, got)
		}
	}
	for _, text := range []string{
		"", "much", "100%", "-1%", "NaN%", "-1GiB", "1 GiBi", "9999999999999999999TiB",
		"5%,", ",1GiB", "1GiB, 5%", "5%, 5%", "1GiB, 1GiB", "5%, 1GiB, 1GiB", ",",
	} {
		if got, err := parseFree(text); err == nil {
			t.Errorf("parseFree(%q) = %+v, want an error", text, got)
		}
	}
}

func TestDetails(t *testing.T) {
	c := parseOK(t, head+`storage:
  detail: [['cluster="eu"', 'signal=~"http_.*"'], ['service="pay"']]
`)
	for _, tc := range []struct {
		set  model.LabelSet
		want bool
	}{
		{model.LabelSet{"cluster": "eu", "service": "web", "signal": "http_errors"}, true},
		{model.LabelSet{"cluster": "eu", "service": "pay", "signal": "cpu"}, true},
		{model.LabelSet{"cluster": "us", "service": "web", "signal": "http_errors"}, false},
	} {
		if got := c.Storage.Details(tc.set); got != tc.want {
			t.Errorf("Details(%v) = %v, want %v", tc.set, got, tc.want)
		}
	}
}
