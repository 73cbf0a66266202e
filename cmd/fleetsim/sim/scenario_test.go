package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseScenario(t *testing.T) {
	got, err := ParseScenario("f.yaml", []byte(`
# A comment.
- at: 3m
  for: 90s
  ramp: 10s
  cluster: e*st
  service: shop/check*
  kind: latency_shift
  latency: 2.5
- {kind: pod_crash, service: cart, reason: OOMKilled}
- {kind: bad_release, service: cart, crash: true, errors: 0}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Fault{
		{
			Kind: LatencyShift, At: 3 * time.Minute, For: 90 * time.Second, Ramp: 10 * time.Second,
			Cluster: "e*st", Service: "shop/check*", Latency: 2.5, Tail: 1, CPU: 1,
		},
		{
			Kind: PodCrash, Service: "cart", Every: 30 * time.Second, Reason: "OOMKilled", Pods: 1,
			Latency: 1, Tail: 1, CPU: 1,
		},
		{Kind: BadRelease, Service: "cart", Crash: true, Latency: 1, Tail: 1, CPU: 1},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Fault{})); diff != "" {
		t.Errorf("faults differ (-want +got):\n%s", diff)
	}
	if got, err := ParseScenario("empty.yaml", nil); got != nil || err != nil {
		t.Errorf("an empty file gives %v, %v", got, err)
	}
}

func TestParseScenarioSaysWhatIsWrong(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"kind: leak", `f:1: a scenario is a list of faults; write - {at`},
		{"- leak", `f:1: [0]: a fault is a mapping; write {at`},
		{"- {at: 3m}", `f:1: [0].kind: is missing; write one of error_burst, latency_shift`},
		{"- {kind: laek}", `f:1: [0].kind: unknown kind "laek"; write leak`},
		{"- {kind: earthquake}", `f:1: [0].kind: unknown kind "earthquake"; write one of`},
		{"- kind: leak\n  srevice: cart", `f:2: [0].srevice: leak has no such field; write service`},
		{"- {kind: leak, errors: 0.1}", `f:1: [0].errors: leak has no such field; write one of kind, at`},
		{"- {kind: leak}\n- {kind: leak, at: soon}", `f:2: [1].at: "soon" is not a duration; write one such as 90s`},
		{"- {kind: leak, for: -3m}", `f:1: [0].for: "-3m" is not a duration`},
		{"- {kind: error_burst, errors: 30}", `f:1: [0].errors: "30" is out of range; write a share`},
		{"- {kind: error_burst, errors: .nan}", `f:1: [0].errors: ".nan" is out of range`},
		{"- {kind: latency_shift, latency: 0}", `f:1: [0].latency: "0" is out of range; write a factor`},
		{"- {kind: leak, pods: 0}", `f:1: [0].pods: "0" is not a number of pods; write 1 or more`},
		{"- {kind: bad_release, crash: perhaps}", `f:1: [0].crash: "perhaps" is neither true nor false; write true`},
		{"- {kind: pod_crash, reason: Oomkilled}", `f:1: [0].reason: unknown reason "Oomkilled"; write OOMKilled`},
		{"- {kind: pod_crash, every: 1ms}", `f:1: [0].every: is too short; write 1s or more`},
		{"- {kind: leak, service: \"[\"}", `f:1: [0].service: "[" is not a name or glob; write a name`},
		{"- {kind: leak, cluster: []}", `f:1: [0].cluster: "" is not a name or glob`},
		{"- {kind: leak, at: 1m, at: 2m}", `f:1: [0].at: is there twice; write it once`},
		{"- {kind: [}", `f: yaml: `},
	} {
		t.Run(tc.text, func(t *testing.T) {
			_, err := ParseScenario("f", []byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

func TestParseScenarioSaysAllThatIsWrong(t *testing.T) {
	_, err := ParseScenario("f", []byte("- {kind: leak, at: soon, pods: x}\n- {kind: leka}"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three problems, got %v", err)
	}
}

func FuzzParseScenario(f *testing.F) {
	f.Add("- {at: 3m, for: 5m, kind: error_burst, service: cart, errors: 0.5}")
	f.Add("- {kind: pod_crash, every: 5s, pods: 2, reason: Error}\n- []")
	f.Add("&a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		faults, err := ParseScenario("f", []byte(text))
		if err != nil {
			return
		}
		for _, fault := range faults {
			if fault.Kind == "" || fault.At < 0 || fault.Errors > 1 || fault.Latency <= 0 {
				t.Errorf("%q gives %+v", text, fault)
			}
		}
	})
}
