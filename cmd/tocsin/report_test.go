package main

import (
	"encoding/json"
	"testing"
	"time"

	"tocsin/remediation/action"
)

func TestReport(t *testing.T) {
	h := startHouse(t)
	h.says(t, 0, []string{"report"}, "would have been done 1", "eu/shop/cart", "errors[31m worse")
	out, code := h.tocsin(t, "report", "--from", "2026-02-01T00:00:00Z", "--to",
		"2026-03-01T00:00:00Z", "-o", "json")
	var r action.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	if r.From.Month() != time.February || r.To.Month() != time.March || r.Total.Would != 1 {
		t.Errorf("%+v", r)
	}
	h.says(t, 2, []string{"report", "--from", "monday"}, "--from", "2h or 7d")
	h.says(t, 2, []string{"report", "--week", "--from", "7d"}, "either --week or --from")
	h.says(t, 2, []string{"report", "-o", "pdf"}, "text or json")
	h.says(t, 2, []string{"report", "--from", "1h", "--to", "2h"}, "not before")
}

func TestWeekOfAReport(t *testing.T) {
	at := func(day, hour int) time.Time { return time.Date(2026, 3, day, hour, 0, 0, 0, time.UTC) }
	for _, now := range []time.Time{at(2, 0), at(4, 13), at(8, 23)} { // Monday, Wednesday, Sunday.
		query, err := reportQuery("", "", true, now)
		if err != nil || query.Get("from") != "2026-02-23T00:00:00Z" ||
			query.Get("to") != "2026-03-02T00:00:00Z" {
			t.Errorf("%s: %v, %v", now, query, err)
		}
	}
}
