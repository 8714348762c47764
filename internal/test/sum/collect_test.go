package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// collect runs events, given as "action test [output]" of one package, through a collector.
func collect(t *testing.T, events ...string) (results []result, printed string) {
	t.Helper()
	var in, out bytes.Buffer
	for _, line := range events {
		f := strings.SplitN(line, " ", 3)
		e := event{Action: f[0], Package: "p"}
		if len(f) > 1 {
			e.Test = f[1]
		}
		if len(f) > 2 {
			e.Output = f[2] + "\n"
		}
		if err := json.NewEncoder(&in).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	c := newCollector("unit", &out)
	if err := c.read(&in); err != nil {
		t.Fatal(err)
	}
	return c.finish(), out.String()
}

func TestCollectCounts(t *testing.T) {
	for _, tc := range []struct {
		name   string
		events []string
		want   []string // "outcome test"
	}{
		{"a test", []string{"run A", "pass A", "pass"}, []string{"pass A"}},
		{
			"only the subtests of a test that passes",
			[]string{"run A", "run A/1", "run A/2", "pass A/1", "skip A/2", "pass A", "pass"},
			[]string{"pass A/1", "skip A/2"},
		},
		{
			"not the parent of a failed subtest",
			[]string{"run A", "run A/1", "fail A/1", "fail A", "fail"},
			[]string{"fail A/1"},
		},
		{
			"a parent that fails by itself",
			[]string{"run A", "run A/1", "pass A/1", "fail A", "fail"},
			[]string{"pass A/1", "fail A"},
		},
		{
			"a parent that is skipped after its subtests",
			[]string{"run A", "run A/1", "pass A/1", "skip A", "pass"},
			[]string{"pass A/1", "skip A"},
		},
		{
			"a subtest with a slash in its name",
			[]string{"run A", "run A/x/y", "pass A/x/y", "pass A", "pass"},
			[]string{"pass A/x/y"},
		},
		{
			"a test that the end of its package cut short",
			[]string{"run A", "run A/1", "fail"},
			[]string{"fail A/1"},
		},
		{"a package whose end never came", []string{"run A"}, []string{"fail A"}},
		{"a package that fails and no test of it", []string{"run A", "pass A", "fail"}, []string{"pass A", "fail "}},
		{"no package without tests", []string{"skip"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			results, _ := collect(t, tc.events...)
			var got []string
			for _, r := range results {
				got = append(got, r.Outcome+" "+r.Test)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("counted %q, want %q", got, tc.want)
			}
		})
	}
}

func TestCollectPrints(t *testing.T) {
	results, printed := collect(t,
		"run A", "output A quiet", "pass A",
		"run B", "output B loud", "fail B",
		"run C", "output C === RUN   C", "output C     c_test.go:3: no kernel", "output C --- SKIP: C (0.00s)", "skip C",
		"build-output  broken", "fail")
	if strings.Contains(printed, "quiet") || !strings.Contains(printed, "loud") || !strings.Contains(printed, "broken") {
		t.Errorf("printed %q: want the output of what failed, and no other", printed)
	}
	if got := results[2].Reason; got != "c_test.go:3: no kernel" {
		t.Errorf("reason of the skip is %q", got)
	}
}

// Some tests measure, and judge nothing: who wants the figures asks for the logs.
func TestCollectPrintsLogs(t *testing.T) {
	var out bytes.Buffer
	c := newCollector("unit", &out)
	c.logs = true
	events := `{"Action":"run","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Test":"A","Output":"a_test.go:3: 1.04 of the plain bridge's time\n"}
{"Action":"pass","Package":"p","Test":"A"}
`
	if err := c.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	if printed := out.String(); !strings.Contains(printed, "1.04 of the plain bridge's time") {
		t.Errorf("printed %q: want what the test logged", printed)
	}
}

func TestCollectPassesOtherLinesOn(t *testing.T) {
	var out bytes.Buffer
	if err := newCollector("unit", &out).read(strings.NewReader("not an event")); err != nil {
		t.Fatal(err)
	}
	if out.String() != "not an event" {
		t.Errorf("printed %q", out.String())
	}
}

// What takes the time of a run is named: the tests that took long, and not their subtests.
func TestCollectNamesWhatIsSlow(t *testing.T) {
	var out bytes.Buffer
	events := `{"Action":"run","Package":"p","Test":"A"}
{"Action":"run","Package":"p","Test":"A/x"}
{"Action":"pass","Package":"p","Test":"A/x","Elapsed":29}
{"Action":"pass","Package":"p","Test":"A","Elapsed":31.4}
{"Action":"run","Package":"p","Test":"B"}
{"Action":"pass","Package":"p","Test":"B","Elapsed":19}
{"Action":"pass","Package":"p","Elapsed":51}
`
	if err := newCollector("e2e", &out).read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	if want := "ok    p  51.00s\n      A 31s\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}
