package main

import (
	"testing"
	"time"

	"tocsin/remediation/action"
)

func TestPauseAndResume(t *testing.T) {
	h := startHouse(t)
	h.says(t, 2, []string{"resume"}, "no pause is in force")
	h.says(t, 0, []string{"pause", "--for", "2h", "--why", "a drill", "--by", "ann"},
		"pause-0: nothing is done about releases of everything, until 2",
		"tocsin resume pause-0 ends it")
	h.says(t, 0, []string{"pause", "--namespace", "shop", "--by", "bob"},
		"pause-1: nothing is done about releases of namespace shop, until it is resumed")
	h.says(t, 0, []string{"get", "pauses"},
		"pause-0  in force  everything      ", "pause-1  in force  namespace shop", "a drill")
	h.says(t, 2, []string{"resume"}, "2 pauses are meant", "pause-1, pause-0")
	h.says(t, 0, []string{"resume", "0", "--by", "ann"}, "pause-0: the pause of everything is over")
	h.says(t, 2, []string{"resume", "pause-0"}, "tocsin get pauses lists them")
	h.says(t, 0, []string{"resume"}, "pause-1: the pause of namespace shop is over")
	h.says(t, 0, []string{"get", "pauses", "-o", "wide"}, "lifted", "people")
	h.says(t, 0, []string{"pause"}, "pause-2")
	h.says(t, 0, []string{"pause", "--team", "pay"},
		"pause-3: nothing is done about releases of team pay")
	h.says(t, 2, []string{"resume", "pause-2", "--all"}, "either a pause or --all")
	h.says(t, 0, []string{"resume", "--all"},
		"pause-2: the pause of everything", "pause-3: the pause of team pay")
	h.says(t, 2, []string{"pause", "--for", "soon"}, "2h or 1d")
	h.says(t, 2, []string{"pause", "extra"}, "unknown command")
	want := []action.Scope{{}, {Namespaces: []string{"shop"}}, {}, {Teams: []string{"pay"}}}
	for i, p := range h.engine.paused {
		if p.Scope.String() != want[i].String() || p.Lifted.IsZero() {
			t.Errorf("pause %d: %+v", i, p)
		}
	}
	if p := h.engine.paused[0]; p.Why != "a drill" || p.By != "ann" ||
		p.Until.Sub(p.At).Round(time.Minute) != 2*time.Hour {
		t.Errorf("paused %+v", p)
	}
}

func TestScopeOfAPause(t *testing.T) {
	for want, flags := range map[string]stopFlags{
		"fleet":        {},
		"eu":           {cluster: "eu"},
		"*/shop":       {namespace: "shop"},
		"eu/*/cart":    {cluster: "eu", service: "cart"},
		"eu/shop/cart": {cluster: "eu", namespace: "shop", service: "cart"},
	} {
		if got := flags.scope(); got != want {
			t.Errorf("%+v is %s, want %s", flags, got, want)
		}
	}
}
