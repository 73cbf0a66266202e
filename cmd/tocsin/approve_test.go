package main

import (
	"os/user"
	"testing"

	"tocsin/release"
)

func TestPeopleDecideAboutAnAction(t *testing.T) {
	h := startHouse(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	h.says(t, 2, []string{"retry", "undo-5b0d"}, "written already", "tocsin describe action undo-5b0d")
	h.says(t, 0, []string{"approve", "5b0", "--note", "it is bad"},
		"rollback of eu/shop/cart (Deployment): running: approved by "+me.Username+": it is bad",
		"tocsin abort undo-5b0d", "tocsin get actions --watch --service cart")
	h.says(t, 2, []string{"approve", "undo-5b0d"}, "does not wait for an approval: it is running")
	h.says(t, 0, []string{"abort", "undo-5b0d", "--by", "ann", "--note", "a drill"},
		"aborted: called off by ann: a drill", "tocsin retry undo-5b0d")
	h.says(t, 0, []string{"retry", "undo-5b0d", "--by", "ann"}, "proposed: retried by ann")
	h.says(t, 2, []string{"approve", "none"}, "tocsin get actions lists them")
	h.says(t, 2, []string{"approve"}, "accepts 1 arg")
	steps := h.engine.all[0].Steps
	if len(steps) != 4 || steps[1].What != "approved by "+me.Username+": it is bad" {
		t.Errorf("steps %+v", steps)
	}
}

func TestMarkOverrulesAVerdict(t *testing.T) {
	h := startHouse(t)
	h.says(t, 0, []string{"mark", "8c1", "accepted", "--by", "ann"},
		"cart:v42 of eu/shop/cart (Deployment) is accepted")
	if k := h.ledger[1]; k.Standing != release.Accepted || k.By != "ann" {
		t.Errorf("marked %+v", k)
	}
	h.says(t, 2, []string{"mark", "8c1", "good"}, "accepted, regressed or unknown")
	h.says(t, 2, []string{"mark", "none", "accepted"}, "tocsin get releases lists them")
	h.says(t, 2, []string{"mark", "8c77aa", "accepted"}, "no such revision")
}

func TestPeopleTakeCareOfAnIncident(t *testing.T) {
	h := startHouse(t)
	h.says(t, 0, []string{"acknowledge", "1a2", "--by", "ann"}, "errors 12.4% instead of 0.3%: acknowledged")
	h.says(t, 0, []string{"resolve", "1a2b", "--by", "bob"}, "resolved")
	h.says(t, 2, []string{"resolve", "1a2b"}, "tocsin describe incident 1a2b says more")
	h.says(t, 2, []string{"acknowledge", "77"}, "tocsin get incidents lists them")
	if i := h.incidents[0]; i.AcknowledgedBy != "ann" || i.ResolvedBy != "bob" {
		t.Errorf("%+v", i)
	}
}
