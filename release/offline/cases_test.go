package offline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tocsin/release"
)

// folder writes files of cases and returns the list's path.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cases.csv")
}

// days writes three days of a metric by the minute, and two hours after a change, in which it grows by harm.
func days(change int, harm float64) string {
	var b strings.Builder
	b.WriteString("timestamp,value\n")
	for s := change - 3*86400; s < change+7200; s += 60 {
		v := 50 + 10*math.Sin(2*math.Pi*float64(s)/86400) + math.Mod(float64(s/60)*0.618, 1)
		if s > change+600 {
			v += harm
		}
		fmt.Fprintf(&b, "%d,%g\n", s, v)
	}
	return b.String()
}

func TestCases(t *testing.T) {
	const change = 1_700_000_000
	path := folder(t, map[string]string{
		"cases.csv": fmt.Sprintf("id,file,change_time\ngood,a.csv,%d\nbad,b.csv,%d\nshort,c.csv,%d\n", change, change, change),
		"a.csv":     days(change, 0), "b.csv": days(change, 25), "c.csv": "timestamp,value\n1,1\n",
	})
	var out bytes.Buffer
	if err := Cases(CaseOptions{Path: path, Out: &out}); err != nil {
		t.Fatal(err)
	}
	want := []release.Result{release.Healthy, release.Regressed, release.Inconclusive}
	d := json.NewDecoder(&out)
	for i := range want {
		var l CaseLine
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.Verdict != want[i] || l.Reason == "" {
			t.Errorf("%+v, want %v", l, want[i])
		}
	}
}

func TestCasesRefusesBadInput(t *testing.T) {
	const header = "id,file,change_time\n"
	for _, tc := range []struct{ name, list, metric, want string }{
		{"empty", "", "", "cases.csv: empty file"},
		{"column", "id,file\n", "", "change_time: the column is missing"},
		{"time", header + "x,m.csv,soon\n", "", ":2: change_time"},
		{"no file", header + "x,other.csv,1\n", "", "other.csv"},
		{"value", header + "x,m.csv,1\n", "timestamp,value\n1,2\n2,much\n", "m.csv:3: value"},
		{"order", header + "x,m.csv,1\n", "timestamp,value\n5,2\n2,1\n", "m.csv:3: timestamp"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := folder(t, map[string]string{"cases.csv": tc.list, "m.csv": tc.metric})
			err := Cases(CaseOptions{Path: path, Out: &bytes.Buffer{}})
			var bad *RowError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}
